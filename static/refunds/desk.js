// Comforts on top of pages that work without them.
"use strict";

(() => {
  const PHONE = window.matchMedia("(max-width: 47.99rem)");

  /** Move the focus to what went wrong, so that it is seen and read out first. */
  const focusErrors = (root) => {
    root.querySelector("[data-error-summary]")?.focus();
  };

  /** Screen readers announce changes only; what was there from the start counts once moved. */
  const announceMessages = () => {
    const region = document.getElementById("messages");
    region?.append(...region.children);
  };

  /** What a part of the page has to tell once it was swapped for a newer one. */
  const currentNews = () =>
    document.querySelector("[data-news]")?.textContent.replace(/\s+/g, " ").trim() ?? "";

  let news = "";

  /** A swapped part is not read out by itself; what it tells is, once, when it has changed. */
  const announceNews = () => {
    if (currentNews() !== news) {
      news = currentNews();
      document.getElementById("news").textContent = news;
    }
  };

  let focusGoes = false;

  /** Where the focused button is gone with the swap, go on from the page, not from its top. */
  const keepFocus = () => {
    if (focusGoes && document.activeElement === document.body) {
      document.getElementById("main").focus({ preventScroll: true });
    }
  };

  /** The fields typed in since the last request left. */
  const typedSince = new Set();

  /** What was typed while the total was on its way is newer than the amount that comes with it. */
  const keepTyped = (event) => {
    if ([...typedSince].some((field) => event.detail.target.contains(field))) {
      event.detail.shouldSwap = false;
    }
  };

  /** Say that it is being sent; pressing the button again while it is does nothing. */
  const submitOnce = (event) => {
    const button = event.target.matches("[data-submit-once]") && event.submitter;
    if (!button) {
      return;
    }
    if (button.dataset.label) {
      event.preventDefault();
      return;
    }
    button.dataset.label = button.textContent;
    // As wide as before, lest a second click meet what stood beside it.
    button.style.minWidth = `${button.offsetWidth}px`;
    button.textContent = "Sending…";
  };

  /** Coming back by the Back button, what was sent may be tried again. */
  const resetSubmits = () => {
    for (const button of document.querySelectorAll("[data-submit-once] button[data-label]")) {
      button.textContent = button.dataset.label;
      delete button.dataset.label;
    }
  };

  /** Fold the wizard's summary where it would push the form off a small screen. */
  const foldSummaries = () => {
    for (const details of document.querySelectorAll("details[data-fold-on-phone]")) {
      details.open = !PHONE.matches;
    }
  };

  const UNITS = [
    ["year", 31536000],
    ["month", 2592000],
    ["week", 604800],
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
  ];

  /** Say "5 minutes ago" again as time goes by; pages stay open all day. */
  const refreshMoments = () => {
    const format = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "always" });
    for (const moment of document.querySelectorAll("time[data-relative]")) {
      const seconds = (Date.parse(moment.dateTime) - Date.now()) / 1000;
      const unit = UNITS.find(([, length]) => Math.abs(seconds) >= length);
      if (unit) {
        moment.textContent = format.format(Math.trunc(seconds / unit[1]), unit[0]);
      }
    }
  };

  /** Copy the text that a button points at, and say so on the button. */
  const copy = async (button) => {
    const source = document.querySelector(button.dataset.copyTarget);
    const label = button.dataset.label ?? button.textContent;
    button.dataset.label = label;
    const text = source.value ?? source.innerText;
    try {
      await navigator.clipboard.writeText(text.trim());
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => {
      button.textContent = label;
    }, 4000);
  };

  const prepare = (root) => {
    for (const button of root.querySelectorAll("[data-copy-target]")) {
      button.hidden = false;
      button.setAttribute("aria-live", "polite");
    }
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy-target]");
    if (button) {
      copy(button);
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) {
        menu.open = false;
      }
    }
  });

  document.addEventListener("keydown", (event) => {
    const menu = event.target.closest?.("details.menu[open]");
    if (event.key === "Escape" && menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  document.addEventListener("submit", submitOnce);
  window.addEventListener("pageshow", resetSubmits);

  document.addEventListener("input", (event) => typedSince.add(event.target));
  document.addEventListener("htmx:beforeRequest", () => typedSince.clear());
  document.addEventListener("htmx:oobBeforeSwap", keepTyped);

  document.addEventListener("htmx:beforeSwap", (event) => {
    focusGoes = event.detail.target.contains(document.activeElement);
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    prepare(event.target);
    focusErrors(event.target);
    keepFocus();
    announceNews();
  });

  prepare(document);
  foldSummaries();
  PHONE.addEventListener("change", foldSummaries);
  announceMessages();
  news = currentNews();
  focusErrors(document);
  setInterval(refreshMoments, 60000);
})();

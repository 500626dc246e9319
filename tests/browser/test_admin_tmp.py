from tests.browser.test_accessibility import *
def test_admin_tmp(page, screens, desk, sign_in, watch):
    refund = desk.submit(desk.order("all_options"), rep(), PART)
    sign_in(User.objects.create_superuser("admin"))
    for path in ("/admin/","/admin/refunds/refund/",f"/admin/refunds/refund/{refund.pk}/change/",f"/admin/refunds/order/{refund.order_id}/change/","/admin/refunds/refundreason/","/admin/auth/user/","/admin/auth/group/","/admin/refunds/refundreason/add/"):
        screens.go(path); page.wait_for_timeout(500)
        print(path, watch.complaints); watch.complaints.clear()
def test_errors(screens, desk, watch):
    watch.expect_status(HTTPStatus.UNPROCESSABLE_ENTITY)
    screens.begin(desk.order("worked_sample"))
    screens.choose("Line Items")
    screens.page.get_by_label("Quantity of Wax").fill("1")
    screens.amount_of("Wax ribbon 110 mm x 300 m").fill("10,811")
    screens.page.get_by_role("button", name="Review and Submit").click()
    print(screens.page.locator("main").inner_text())

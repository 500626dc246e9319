"""The settings that rounds over many refunds are measured with: the stand-in in the process."""

# A settings module takes over another one whole; naming each setting would hide new ones.
from benchmarks.desk_settings import *  # noqa: F403
from benchmarks.desk_settings import DIRECTORY

DIGITALRIVER_TRANSPORT = "sandbox.transport.in_process"
SANDBOX_STATE = DIRECTORY / "many.sqlite3"
SANDBOX_SETTLE_SECONDS = 86_400
# What keeps the calls under a limit works as ever, but nobody waits.
DIGITALRIVER_CALLS_PER_SECOND = 1_000_000

"""A suite that is started in the background has Ctrl-C ignored, also in the processes that tests start to interrupt."""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

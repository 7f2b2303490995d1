"""The Python half of a Ringfence worker.

IPython's InteractiveShell runs the cells; this package puts the worker
protocol (include/ringfence/worker.h) where ipykernel has ZMQ sockets.  The
package holds no key, no socket of a client and no history file: the gateway
has these.

zygote    imports everything once and builds the shell; forks happen in C
worker    the main loop of one forked worker
execute   execute_request; handlers has the other requests
shell     ZMQInteractiveShell and what it publishes with (display, streams)
loop      the one asyncio loop of the main thread; interrupt: SIGINT
hygiene   what every process must do after a fork
"""

__version__ = "0.1.0"

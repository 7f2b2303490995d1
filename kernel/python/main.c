/* ringfence-kernel: the system's CPython, embedded, with _ringfence built in.
 *
 * With --probe-sandbox it says which steps of the sandbox work here, as JSON.
 * Else it takes a Python command line; the supervisor runs it on lib/ringfence/
 * zygote_start.py.  It calls itself by the path of the system's interpreter, so that
 * sys.executable, sys.prefix and whatever a cell starts with them are those.
 */
#include <Python.h>

#include <string.h>

#include "kernel/python/module.h"
#include "kernel/sandbox/sandbox.h"

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--probe-sandbox"))
        return rf_sandbox_probe(stdout);
    if (PyImport_AppendInittab("_ringfence", PyInit__ringfence))
        return 1;
    rf_module_prepare();
    argv[0] = (char *)RF_PYTHON;
    return Py_BytesMain(argc, argv);
}

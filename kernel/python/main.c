/* ringfence-kernel: the system's CPython, embedded, with _ringfence built in.
 *
 * It takes a Python command line; the supervisor runs it on lib/ringfence/
 * zygote_start.py.  It calls itself by the path of the system's interpreter, so that
 * sys.executable, sys.prefix and whatever a cell starts with them are those.
 */
#include <Python.h>

#include "kernel/python/module.h"

int main(int argc, char **argv)
{
    if (PyImport_AppendInittab("_ringfence", PyInit__ringfence))
        return 1;
    rf_module_prepare();
    argv[0] = (char *)RF_PYTHON;
    return Py_BytesMain(argc, argv);
}

/* The entry points of the module _ringfence, for the program that has it built
 * in.  Include Python.h first.
 */
#ifndef RINGFENCE_KERNEL_PYTHON_MODULE_H
#define RINGFENCE_KERNEL_PYTHON_MODULE_H

#include <Python.h>

PyMODINIT_FUNC PyInit__ringfence(void);

/* Before the interpreter starts, so that all arenas of its allocator are known
 * (kernel/snapshot.h); the module does it, too, for programs that do not. */
void rf_module_prepare(void);

#endif

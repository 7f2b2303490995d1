/* The entry point of the module _ringfence, for the program that has it built
 * in.  Include Python.h first.
 */
#ifndef RINGFENCE_KERNEL_PYTHON_MODULE_H
#define RINGFENCE_KERNEL_PYTHON_MODULE_H

#include <Python.h>

PyMODINIT_FUNC PyInit__ringfence(void);

#endif

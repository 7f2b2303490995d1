/* _ringfence: the worker's C core as a CPython module.
 *
 * Limited API of 3.11, so that one shared object serves every later CPython;
 * ringfence-kernel has it built in.  It wraps kernel/zygote.h and
 * kernel/worker.h for the package ringfence_shell and adds nothing but the
 * interpreter's rules: the GIL is released around every system call that can
 * wait, signal handlers run when one was interrupted.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "kernel/fork.h"
#include "kernel/huge.h"
#include "kernel/snapshot.h"
#include "kernel/python/module.h"
#include "kernel/worker.h"
#include "kernel/zygote.h"

/* In every CPython, but not in the limited API. */
struct arena_allocator {
    void *context;
    void *(*alloc)(void *context, size_t size);
    void (*free)(void *context, void *arena, size_t size);
};
struct block_allocator {
    void *context;
    void *(*malloc)(void *context, size_t size);
    void *(*calloc)(void *context, size_t n, size_t size);
    void *(*realloc)(void *context, void *block, size_t size);
    void (*free)(void *context, void *block);
};
enum allocator_domain { RAW };
extern void PyObject_SetArenaAllocator(struct arena_allocator *);
extern void PyMem_GetAllocator(enum allocator_domain, struct block_allocator *);
extern void PyMem_SetAllocator(enum allocator_domain, struct block_allocator *);

/* --- memory: all blocks of more than 512 bytes come from the raw allocator --- */

static struct block_allocator below;

static void *advise(void *block, size_t size)
{
    if (size >= RF_HUGE_BLOCK && block)
        rf_huge_block(block, size);
    return block;
}

static void *block_new(void *unused, size_t size)
{
    (void)unused;
    return size >= RF_HUGE_LARGE ? rf_huge_large_new(size)
                                 : advise(below.malloc(below.context, size), size);
}

static void *block_zeroed(void *unused, size_t n, size_t size)
{
    (void)unused;
    size_t len = size && n > SIZE_MAX / size ? SIZE_MAX : n * size;
    return len >= RF_HUGE_LARGE ? rf_huge_large_new(len)
                                : advise(below.calloc(below.context, n, size), len);
}

static void block_free(void *unused, void *block)
{
    (void)unused;
    if (rf_huge_is_large(block))
        rf_huge_large_free(block);
    else
        below.free(below.context, block);
}

/* `from` has that size at least. */
static void *copy_to(void *to, void *from, size_t size)
{
    if (to) {
        memcpy(to, from, size);
        block_free(NULL, from);
    }
    return to;
}

static void *block_resize(void *unused, void *block, size_t size)
{
    (void)unused;
    bool large = rf_huge_is_large(block);
    if (large && size >= RF_HUGE_LARGE / 2) /* one that goes up and down is not copied each time */
        return rf_huge_large_resize(block, size);
    if (large)
        return copy_to(block_new(NULL, size), block, size);
    void *resized = advise(below.realloc(below.context, block, size), size);
    void *moved = resized && size >= RF_HUGE_LARGE ? rf_huge_large_new(size) : NULL;
    return moved ? copy_to(moved, resized, size) : resized;
}

void rf_module_prepare(void)
{
    struct arena_allocator arenas = {NULL, rf_snapshot_arena_new, rf_snapshot_arena_free};
    struct block_allocator blocks = {NULL, block_new, block_zeroed, block_resize, block_free};
    if (below.malloc)
        return;
    PyObject_SetArenaAllocator(&arenas);
    PyMem_GetAllocator(RAW, &below);
    PyMem_SetAllocator(RAW, &blocks);
}

static struct timespec loaded_at; /* anything read later is younger than this */

static PyObject *raise_errno(int code)
{
    errno = -code;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *parts_of(const struct rf_frame *frame)
{
    PyObject *list = PyList_New((Py_ssize_t)frame->n_parts);
    for (size_t i = 0; list && i < frame->n_parts; i++) {
        PyObject *part = PyBytes_FromStringAndSize((const char *)frame->parts[i].data,
                                                   (Py_ssize_t)frame->parts[i].len);
        if (!part || PyList_SetItem(list, (Py_ssize_t)i, part))
            Py_CLEAR(list);
    }
    return list;
}

PyDoc_STRVAR(recv_doc,
             "recv(timeout_ms=-1) -> (type, request_id, [bytes, ...]) or None on timeout\n\n"
             "The next message of the gateway (ringfence/worker.h).  Raises EOFError when the\n"
             "gateway is gone, and whatever a signal handler raises; no message is lost then.");

static PyObject *py_recv(PyObject *self, PyObject *args)
{
    int timeout_ms = -1;
    if (!PyArg_ParseTuple(args, "|i:recv", &timeout_ms))
        return NULL;
    for (;;) {
        struct rf_frame frame;
        int r;
        Py_BEGIN_ALLOW_THREADS;
        r = rf_worker_recv(timeout_ms, &frame);
        Py_END_ALLOW_THREADS;
        if (r == 1) {
            PyObject *parts = parts_of(&frame);
            return parts ? Py_BuildValue("(iKN)", (int)frame.type,
                                         (unsigned long long)frame.request_id, parts)
                         : NULL;
        }
        if (r == -ETIME)
            Py_RETURN_NONE;
        if (r == 0) {
            PyErr_SetString(PyExc_EOFError, "the gateway closed the worker's socket");
            return NULL;
        }
        if (r != -EINTR)
            return raise_errno(r);
        if (PyErr_CheckSignals())
            return NULL;
    }
}

PyDoc_STRVAR(send_doc,
             "send(type, request_id, parts)\n\n"
             "Sends one message; parts is a sequence of bytes-like objects.  Atomic against\n"
             "other threads; ordered after what was written to fd 1 and 2.  Does nothing in a\n"
             "process that is not the worker.");

static void release_views(Py_buffer *views, Py_ssize_t n)
{
    while (n-- > 0)
        PyBuffer_Release(&views[n]);
    PyMem_Free(views);
}

/* The parts as borrowed views; *ret_n of them. */
static Py_buffer *views_of(PyObject *parts, Py_ssize_t *ret_n)
{
    Py_ssize_t n = PySequence_Size(parts);
    if (n < 0)
        return NULL;
    if (n > (Py_ssize_t)RF_WORKER_PARTS_MAX) {
        PyErr_Format(PyExc_ValueError, "a message has at most %u parts, not %zd",
                     RF_WORKER_PARTS_MAX, n);
        return NULL;
    }
    Py_buffer *views = PyMem_Calloc((size_t)n + 1, sizeof(*views));
    if (!views) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *part = PySequence_GetItem(parts, i);
        int r = part ? PyObject_GetBuffer(part, &views[i], PyBUF_C_CONTIGUOUS) : -1;
        Py_XDECREF(part);
        if (r) {
            release_views(views, i);
            return NULL;
        }
    }
    *ret_n = n;
    return views;
}

typedef int sender(uint8_t type, uint64_t request_id, const struct rf_bytes *parts, size_t n_parts);

static int answer_with(uint8_t type, uint64_t id, const struct rf_bytes *parts, size_t n_parts)
{
    return rf_worker_answer(id, parts, n_parts);
}

static PyObject *send_parts(PyObject *parts, uint8_t type, uint64_t request_id, sender *send)
{
    Py_ssize_t n = 0;
    Py_buffer *views = views_of(parts, &n);
    if (!views)
        return NULL;
    struct rf_bytes slices[RF_WORKER_PARTS_MAX];
    for (Py_ssize_t i = 0; i < n; i++)
        slices[i] = (struct rf_bytes){views[i].buf, (size_t)views[i].len};
    int r;
    Py_BEGIN_ALLOW_THREADS;
    r = send(type, request_id, slices, (size_t)n);
    Py_END_ALLOW_THREADS;
    release_views(views, n);
    if (r == -EMSGSIZE) {
        PyErr_Format(PyExc_ValueError, "the message is larger than %u bytes (RF_WORKER_MESSAGE_MAX)",
                     RF_WORKER_MESSAGE_MAX);
        return NULL;
    }
    if (r && r != -ECHILD)
        return raise_errno(r);
    Py_RETURN_NONE;
}

static PyObject *py_send(PyObject *self, PyObject *args)
{
    int type;
    unsigned long long request_id;
    PyObject *parts;
    if (!PyArg_ParseTuple(args, "iKO:send", &type, &request_id, &parts))
        return NULL;
    return send_parts(parts, (uint8_t)type, request_id, rf_worker_send);
}

PyDoc_STRVAR(stream_write_doc,
             "stream_write(fd, text, request_id)\n\n"
             "Sends text for sys.stdout (fd 1) or sys.stderr (fd 2), in program order with what\n"
             "is written to these descriptors.  Lone surrogates become '?'.");

static PyObject *py_stream_write(PyObject *self, PyObject *args)
{
    int fd;
    unsigned long long request_id;
    PyObject *text;
    if (!PyArg_ParseTuple(args, "iUK:stream_write", &fd, &text, &request_id))
        return NULL;
    Py_ssize_t n;
    PyObject *encoded = NULL;
    const char *utf8 = PyUnicode_AsUTF8AndSize(text, &n);
    if (!utf8) {
        PyErr_Clear();
        encoded = PyUnicode_AsEncodedString(text, "utf-8", "replace");
        if (!encoded || PyBytes_AsStringAndSize(encoded, (char **)&utf8, &n)) {
            Py_XDECREF(encoded);
            return NULL;
        }
    }
    int r;
    Py_BEGIN_ALLOW_THREADS;
    r = rf_worker_stream(fd, request_id, (struct rf_bytes){(const uint8_t *)utf8, (size_t)n});
    Py_END_ALLOW_THREADS;
    Py_XDECREF(encoded);
    if (r)
        return raise_errno(r);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(fileno_doc, "fileno() -> the descriptor of the worker's socket");

static PyObject *py_fileno(PyObject *self, PyObject *unused)
{
    return PyLong_FromLong(RF_WORKER_SOCKET);
}

PyDoc_STRVAR(is_worker_doc,
             "is_worker() -> bool: False in a child that user code forked");

static PyObject *py_is_worker(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(rf_generation() != 0);
}

PyDoc_STRVAR(renew_loop_doc,
             "renew_loop(epoll, reading, writing)\n\n"
             "After a fork: an event loop's descriptors, which were shared, become new ones of the\n"
             "same numbers, an epoll that watches one end of a socket pair.");

static int make_loop(int epoll, int reading, int writing)
{
    RF_AUTO(rf_closep) int fresh = epoll_create1(EPOLL_CLOEXEC);
    int pair[2];
    if (fresh < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
        return -1;
    RF_AUTO(rf_closep) int in = pair[0];
    RF_AUTO(rf_closep) int out = pair[1];
    struct epoll_event event = {.events = EPOLLIN, .data.fd = reading};
    bool done = dup3(fresh, epoll, O_CLOEXEC) >= 0 && dup3(in, reading, O_CLOEXEC) >= 0 &&
                dup3(out, writing, O_CLOEXEC) >= 0;
    return done ? epoll_ctl(epoll, EPOLL_CTL_ADD, reading, &event) : -1;
}

static PyObject *py_renew_loop(PyObject *self, PyObject *args)
{
    int epoll, reading, writing;
    if (!PyArg_ParseTuple(args, "iii:renew_loop", &epoll, &reading, &writing))
        return NULL;
    if (make_loop(epoll, reading, writing))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(gather_doc, "gather()\n\nBefore a checkpoint, in a worker that rests (kernel/worker.h).");

static PyObject *py_gather(PyObject *self, PyObject *unused)
{
    Py_BEGIN_ALLOW_THREADS;
    rf_worker_gather();
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(checkpoint_doc,
             "checkpoint(checkpoint_id, reason) -> None or (type, id, [bytes, ...])\n\n"
             "Makes a checkpoint with the newest descriptor that came with a message; with a\n"
             "reason, one that is crash-only.  None in the worker; in a process forked from the\n"
             "checkpoint the order that it was forked on: MSG_RESUME with its generation, or\n"
             "MSG_ANSWER with a request (see answer()).");

static PyObject *py_checkpoint(PyObject *self, PyObject *args)
{
    unsigned long long id;
    const char *reason;
    unsigned spared;
    if (!PyArg_ParseTuple(args, "KsI:checkpoint", &id, &reason, &spared))
        return NULL;
    int control = rf_worker_take_fd();
    PyOS_BeforeFork();
    struct rf_frame order;
    if (rf_worker_checkpoint(id, control, reason, spared, &order) == 1) {
        PyOS_AfterFork_Child();
        PyObject *parts = parts_of(&order);
        return parts ? Py_BuildValue("(iKN)", (int)order.type, (unsigned long long)order.request_id,
                                     parts)
                     : NULL;
    }
    PyOS_AfterFork_Parent();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(answer_doc, "answer(id, parts)\n\nSends the parts of MSG_REPLY in a process that only "
                         "answers.");

static PyObject *py_answer(PyObject *self, PyObject *args)
{
    unsigned long long id;
    PyObject *parts;
    if (!PyArg_ParseTuple(args, "KO:answer", &id, &parts))
        return NULL;
    return send_parts(parts, 0, id, answer_with);
}

PyDoc_STRVAR(zygote_serve_doc,
             "zygote_serve(fd, direct, keeper_path, idle_s, renew_s, preload, watch, imports)\n\n"
             "Serves spawn requests on a listening (or, with direct, connected) socket.  Returns\n"
             "in each new worker, which may belong to no kernel yet: go on with await_spawn().  In\n"
             "the zygote it ends in SystemExit.");

static const char **paths_of(PyObject *list, Py_ssize_t *ret_n)
{
    Py_ssize_t n = PyList_Size(list);
    if (n < 0)
        return NULL;
    const char **paths = PyMem_Calloc((size_t)n + 1, sizeof(*paths));
    for (Py_ssize_t i = 0; paths && i < n; i++) {
        paths[i] = PyBytes_AsString(PyList_GetItem(list, i));
        if (!paths[i]) {
            PyMem_Free(paths);
            return NULL;
        }
    }
    if (!paths)
        PyErr_NoMemory();
    *ret_n = n;
    return paths;
}

static PyObject *strings_of(const struct rf_buf *text)
{
    PyObject *list = PyList_New(0);
    for (size_t at = 0; list && at < text->len;) {
        const char *start = (const char *)text->data + at;
        size_t n = strnlen(start, text->len - at);
        PyObject *item = PyUnicode_DecodeFSDefaultAndSize(start, (Py_ssize_t)n);
        if (!item || PyList_Append(list, item))
            Py_CLEAR(list);
        Py_XDECREF(item);
        at += n + 1;
    }
    return list;
}

static PyObject *describe(const struct rf_spawn *spawn)
{
    PyObject *argv = strings_of(&spawn->argv);
    if (!argv)
        return NULL;
    return Py_BuildValue("{s:K,s:y#,s:N,s:i}", "generation",
                         (unsigned long long)spawn->generation, "environ",
                         (const char *)spawn->environ.data, (Py_ssize_t)spawn->environ.len, "argv", argv,
                         "crash_fd", (int)RF_WORKER_CRASH);
}

static PyObject *py_zygote_serve(PyObject *self, PyObject *args)
{
    struct rf_zygote_options options = {
        .hooks = {PyOS_BeforeFork, PyOS_AfterFork_Parent, PyOS_AfterFork_Child},
        .since = loaded_at};
    int direct;
    PyObject *watch, *imports;
    Py_ssize_t n_watch = 0, n_imports = 0;
    if (!PyArg_ParseTuple(args, "ipyiisOO:zygote_serve", &options.fd, &direct, &options.keeper_path,
                          &options.idle_s, &options.renew_s, &options.preload, &watch, &imports))
        return NULL;
    options.direct = direct != 0;
    const char **watched = paths_of(watch, &n_watch);
    const char **imported = watched ? paths_of(imports, &n_imports) : NULL;
    int r = -ENOMEM;
    if (imported) {
        options.watch = watched;
        options.n_watch = (size_t)n_watch;
        options.imports = imported;
        options.n_imports = (size_t)n_imports;
        r = rf_zygote_serve(&options);
    }
    /* In a worker the imports are still asked for, by its walls. */
    PyMem_Free(watched);
    if (r == 1)
        Py_INCREF(imports);
    else
        PyMem_Free(imported);
    if (!imported)
        return NULL;
    if (r == 1)
        Py_RETURN_NONE;
    if (r < 0)
        return raise_errno(r);
    PyErr_SetObject(PyExc_SystemExit, NULL);
    return NULL;
}

PyDoc_STRVAR(is_asked_doc,
             "is_asked() -> bool: a kernel waits for this worker (await_spawn will not block)");

static PyObject *py_is_asked(PyObject *self, PyObject *unused)
{
    return PyBool_FromLong(rf_spare_is_asked());
}

PyDoc_STRVAR(await_spawn_doc,
             "await_spawn() -> dict\n\n"
             "Waits until a kernel takes this worker: generation (int), environ (bytes,\n"
             "NUL-separated), argv (list of str), crash_fd (int).  SystemExit when the zygote is\n"
             "gone.  The sandbox stands only after confine().");

static PyObject *py_await_spawn(PyObject *self, PyObject *unused)
{
    struct rf_spawn spawn = {0};
    int r;
    Py_BEGIN_ALLOW_THREADS;
    r = rf_spare_await(&spawn);
    Py_END_ALLOW_THREADS;
    PyObject *description = r == 1 ? describe(&spawn) : NULL;
    rf_spawn_deinit(&spawn);
    if (r < 0)
        return raise_errno(r);
    if (r == 0)
        PyErr_SetObject(PyExc_SystemExit, NULL);
    return description;
}

PyDoc_STRVAR(confine_doc,
             "confine()\n\nAfter await_spawn(), before anything of the user's is read or run: waits\n"
             "until the sandbox stands and enters the kernel's folder.  OSError where that failed.");

static PyObject *py_confine(PyObject *self, PyObject *unused)
{
    int r;
    Py_BEGIN_ALLOW_THREADS;
    r = rf_spare_confine();
    Py_END_ALLOW_THREADS;
    if (r)
        return raise_errno(r);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(take_snapshot_doc,
             "take_snapshot()\n\nIn the zygote, last: its heap as the workers share it\n"
             "(kernel/snapshot.h).  OSError where that cannot be.");

static PyObject *py_take_snapshot(PyObject *self, PyObject *unused)
{
    int r = rf_snapshot_take();
    if (r)
        return raise_errno(r);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"recv", py_recv, METH_VARARGS, recv_doc},
    {"send", py_send, METH_VARARGS, send_doc},
    {"stream_write", py_stream_write, METH_VARARGS, stream_write_doc},
    {"fileno", py_fileno, METH_NOARGS, fileno_doc},
    {"is_worker", py_is_worker, METH_NOARGS, is_worker_doc},
    {"renew_loop", py_renew_loop, METH_VARARGS, renew_loop_doc},
    {"gather", py_gather, METH_NOARGS, gather_doc},
    {"checkpoint", py_checkpoint, METH_VARARGS, checkpoint_doc},
    {"answer", py_answer, METH_VARARGS, answer_doc},
    {"is_asked", py_is_asked, METH_NOARGS, is_asked_doc},
    {"await_spawn", py_await_spawn, METH_NOARGS, await_spawn_doc},
    {"confine", py_confine, METH_NOARGS, confine_doc},
    {"take_snapshot", py_take_snapshot, METH_NOARGS, take_snapshot_doc},
    {"zygote_serve", py_zygote_serve, METH_VARARGS, zygote_serve_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_ringfence",
    .m_doc = "The worker's end of Ringfence's worker protocol (docs/worker-protocol.md).",
    .m_size = -1,
    .m_methods = methods,
};

static const struct {
    const char *name;
    int value;
} constants[] = {
    {"MSG_REQUEST", RF_MSG_REQUEST},
    {"MSG_INPUT_REPLY", RF_MSG_INPUT_REPLY},
    {"MSG_CHECKPOINT", RF_MSG_CHECKPOINT},
    {"MSG_EXIT", RF_MSG_EXIT},
    {"MSG_ORDERED", RF_MSG_ORDERED},
    {"MSG_RESUME", RF_MSG_RESUME},
    {"MSG_ANSWER", RF_MSG_ANSWER},
    {"MSG_HELLO", RF_MSG_HELLO},
    {"MSG_REPLY", RF_MSG_REPLY},
    {"MSG_PUBLISH", RF_MSG_PUBLISH},
    {"MSG_STREAM", RF_MSG_STREAM},
    {"MSG_INPUT_REQUEST", RF_MSG_INPUT_REQUEST},
    {"MSG_ORDER", RF_MSG_ORDER},
};

PyMODINIT_FUNC PyInit__ringfence(void)
{
    clock_gettime(CLOCK_REALTIME, &loaded_at);
    rf_module_prepare();
    PyObject *module = PyModule_Create(&definition);
    for (size_t i = 0; module && i < sizeof(constants) / sizeof(*constants); i++)
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value))
            Py_CLEAR(module);
    return module;
}

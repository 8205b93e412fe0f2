/* The module snapstore.kernel._native: argument checks shared by its functions, and the table that names them. */
#include "native.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

int native_integer(PyObject *object, const char *what, long long low, long long high, long long *out) {
    PyObject *index = PyNumber_Index(object);
    if (index == NULL) return -1;
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (value == -1 && overflow == 0 && PyErr_Occurred()) return -1;
    if (overflow != 0 || value < low || value > high) {
        PyErr_Format(PyExc_ValueError, "%s must be between %lld and %lld", what, low, high);
        return -1;
    }
    *out = value;
    return 0;
}

int native_directory(PyObject *object, int *out) {
    long long number;
    if (native_integer(object, "fd", 0, INT_MAX, &number) < 0) return -1;
    struct stat status;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    do {
        failed = fstat((int)number, &status);
    } while (failed < 0 && errno == EINTR);
    if (failed == 0 && !S_ISDIR(status.st_mode)) {
        errno = ENOTDIR;
        failed = -1;
    }
    Py_END_ALLOW_THREADS
    if (failed < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    *out = (int)number;
    return 0;
}

PyObject *native_prefix(PyObject *bytes, size_t used) {
    if (bytes == NULL || (size_t)PyBytes_Size(bytes) == used) return bytes;
    PyObject *prefix = PyBytes_FromStringAndSize(PyBytes_AsString(bytes), (Py_ssize_t)used);
    Py_DECREF(bytes);
    return prefix;
}

int native_grow(void **block, size_t *capacity, size_t need, size_t width) {
    if (need <= *capacity) return 0;
    size_t room = *capacity < 64 ? 64 : *capacity;
    while (room < need) {
        if (room > SIZE_MAX / 2) return -1;
        room *= 2;
    }
    if (room > (size_t)PTRDIFF_MAX / width) return -1;
    void *larger = realloc(*block, room * width);
    if (larger == NULL) return -1;
    *block = larger;
    *capacity = room;
    return 0;
}

int native_names(const Py_buffer *view, struct names *out) {
    const size_t size = (size_t)view->len;
    memset(out, 0, sizeof *out);
    if (size == 0) return 0;
    out->bytes = malloc(size);
    if (out->bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(out->bytes, view->buf, size);
    if (out->bytes[size - 1] != '\0') {
        PyErr_SetString(PyExc_ValueError, "names must end with NUL");
        goto failed;
    }
    size_t capacity = 0;
    for (char *name = out->bytes; name < out->bytes + size;) {
        const size_t length = strlen(name);
        if (length == 0 || memchr(name, '/', length) != NULL || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            PyErr_SetString(PyExc_ValueError, "a name is empty, '.', '..' or holds a slash");
            goto failed;
        }
        void *start = out->start;
        if (native_grow(&start, &capacity, out->count + 1, sizeof *out->start) < 0) {
            PyErr_NoMemory();
            goto failed;
        }
        out->start = start;
        out->start[out->count++] = name;
        name += length + 1;
    }
    return 0;
failed:
    native_names_free(out);
    return -1;
}

void native_names_free(struct names *names) {
    free(names->start);
    free(names->bytes);
    memset(names, 0, sizeof *names);
}

#define METHOD(name, text)                                                                                             \
    { #name, (PyCFunction)(void (*)(void))native_##name, METH_VARARGS | METH_KEYWORDS, text }

static PyMethodDef methods[] = {
    METHOD(cut_points, "cut_points(data, gear, minimum, average, maximum)\n--\n\nThe ends of the chunks of data."),
    METHOD(scan_directory, "scan_directory(fd)\n--\n\nNames, ENTRY records, devices and newest time of a directory."),
    METHOD(read_files, "read_files(fd, names, expected, buffer, offset)\n--\n\nRESULT records of what was read."),
    METHOD(write_files, "write_files(fd, names, specs, segments, buffers)\n--\n\nWRITTEN records of files created."),
    {NULL, NULL, 0, NULL},
};

static int fill_module(PyObject *module) {
    if (PyModule_AddStringConstant(module, "NAME", "native") < 0) return -1;
    PyObject *flags = PyLong_FromUnsignedLong(CHATTR_FLAGS);
    const int failed = flags == NULL ? -1 : PyModule_AddObjectRef(module, "CHATTR_FLAGS", flags);
    Py_XDECREF(flags);
    return failed;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)fill_module},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "snapstore.kernel._native",
    .m_doc = "The compiled kernel; snapstore.kernel.reference defines what each function does.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) {
    return PyModuleDef_Init(&definition);
}

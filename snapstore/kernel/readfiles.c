/* read_files: many small files of one directory into one buffer, by six system calls each. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "native.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OPEN_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
#define LARGEST_XATTR_LIST 65536

struct outcome {
    uint64_t length;
    enum status status;
    int error;
    uint32_t flags;
    uint32_t xattrs;
};

static int open_file(int directory, const char *name) {
    int extra = O_NOATIME;
    for (;;) {
        const int fd = openat(directory, name, OPEN_FLAGS | extra);
        if (fd >= 0) return fd;
        if (errno == EPERM && extra != 0) {
            extra = 0; /* O_NOATIME is for the owner and root; others leave a newer atime behind */
        } else if (errno != EINTR) {
            return -1;
        }
    }
}

static int stat_file(int fd, struct stat *status) {
    int result;
    do {
        result = fstat(fd, status);
    } while (result < 0 && errno == EINTR);
    return result;
}

/* Up to size bytes into `into`, and whether one more came: 0, or -1 with errno. */
static int read_content(int fd, unsigned char *into, uint64_t size, uint64_t *length, int *more) {
    unsigned char probe;
    *length = 0;
    *more = 0;
    for (;;) {
        struct iovec parts[2] = {
            {.iov_base = into + *length, .iov_len = size - *length},
            {.iov_base = &probe, .iov_len = 1},
        };
        const ssize_t got = preadv(fd, parts, 2, (off_t)*length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if ((uint64_t)got > size - *length) {
            *length = size;
            *more = 1;
            return 0;
        }
        *length += (uint64_t)got;
        /* Everything and nothing beyond: the end was seen, for the probe asked. Nothing: the end came early. */
        if (got == 0 || *length == size) return 0;
    }
}

static int same_file(const struct stat *status, const unsigned char *expected) {
    return status->st_ino == get_u64(expected + ENTRY_INO) &&
           (uint64_t)status->st_size == get_u64(expected + ENTRY_SIZE_FIELD) &&
           (uint64_t)status->st_mtim.tv_sec == get_u64(expected + ENTRY_MTIME_S) &&
           (uint64_t)status->st_ctim.tv_sec == get_u64(expected + ENTRY_CTIME_S) &&
           (uint32_t)status->st_mtim.tv_nsec == get_u32(expected + ENTRY_MTIME_NS) &&
           (uint32_t)status->st_ctim.tv_nsec == get_u32(expected + ENTRY_CTIME_NS) &&
           status->st_mode == get_u32(expected + ENTRY_MODE);
}

static int unsupported(int error) {
    return error == ENOTTY || error == EOPNOTSUPP || error == EINVAL || error == EPERM || error == EACCES ||
           error == ENOSYS;
}

/* The chattr flags and the size of the list of extended attributes: 0, or -1 with errno. */
static int read_extras(int fd, struct outcome *outcome) {
    unsigned int flags[2] = {0, 0}; /* the request's number speaks of a long, the kernel writes an int */
    int result;
    do {
        result = ioctl(fd, FS_IOC_GETFLAGS, flags);
    } while (result < 0 && errno == EINTR);
    if (result < 0 && !unsupported(errno)) return -1;
    outcome->flags = result < 0 ? 0 : flags[0] & CHATTR_FLAGS;

    ssize_t size;
    do {
        size = flistxattr(fd, NULL, 0);
    } while (size < 0 && errno == EINTR);
    if (size < 0 && errno == E2BIG) size = LARGEST_XATTR_LIST;
    if (size < 0 && !unsupported(errno)) return -1;
    outcome->xattrs = size < 0 ? 0 : (uint32_t)size;
    return 0;
}

static int failed_with(struct outcome *outcome, int error) {
    memset(outcome, 0, sizeof *outcome);
    outcome->status = STATUS_ERROR;
    outcome->error = error;
    return 0;
}

static int not_regular(struct outcome *outcome) {
    memset(outcome, 0, sizeof *outcome);
    outcome->status = STATUS_NOT_REGULAR;
    return 0;
}

/* What reading an open file came to; always 0, so that the caller has one place to close. */
static int read_open(int fd, const unsigned char *expected, unsigned char *into, struct outcome *outcome) {
    const uint64_t size = get_u64(expected + ENTRY_SIZE_FIELD);
    struct stat status;
    int more;

    if (size >= SPARSE_CHECK_SIZE) {
        if (stat_file(fd, &status) < 0) return failed_with(outcome, errno);
        if (!S_ISREG(status.st_mode)) return not_regular(outcome);
        if (status.st_blocks < (status.st_size + 511) / 512) {
            outcome->status = STATUS_SPARSE;
            return read_extras(fd, outcome) < 0 ? failed_with(outcome, errno) : 0;
        }
    }
    /* For a small file the fstat before the read would be a tenth of all its time. It is not needed: preadv takes no
     * byte out of a FIFO, a terminal or any other stream, but fails, and then the fstat says why. */
    const int read_error = read_content(fd, into, size, &outcome->length, &more) < 0 ? errno : 0;
    if (stat_file(fd, &status) < 0) return failed_with(outcome, errno);
    if (!S_ISREG(status.st_mode)) return not_regular(outcome);
    if (read_error != 0) return failed_with(outcome, read_error);
    if (read_extras(fd, outcome) < 0) return failed_with(outcome, errno);
    const int same = !more && outcome->length == size && same_file(&status, expected);
    outcome->status = same ? STATUS_OK : STATUS_CHANGED;
    return 0;
}

static void read_one(int directory, const char *name, const unsigned char *expected, unsigned char *into,
                     struct outcome *outcome) {
    memset(outcome, 0, sizeof *outcome);
    if (!S_ISREG(get_u32(expected + ENTRY_MODE))) { /* known beforehand: opening a device can already do things */
        not_regular(outcome);
        return;
    }
    const int fd = open_file(directory, name);
    if (fd < 0 && errno == ENXIO) { /* a socket, or a device without a driver */
        not_regular(outcome);
    } else if (fd < 0) {
        failed_with(outcome, errno);
    } else {
        read_open(fd, expected, into, outcome);
        close(fd);
    }
}

static PyObject *read_named(int directory, const struct names *names, const Py_buffer *expected,
                            const Py_buffer *buffer, uint64_t offset) {
    PyObject *results = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(names->count * RESULT_SIZE));
    if (results == NULL) return NULL;
    unsigned char *result = (unsigned char *)PyBytes_AsString(results);
    const unsigned char *record = expected->buf;
    unsigned char *room = buffer->buf;
    const uint64_t end = (uint64_t)buffer->len;
    size_t done = 0;
    Py_BEGIN_ALLOW_THREADS
    for (; done < names->count; done++, record += ENTRY_SIZE, result += RESULT_SIZE) {
        /* Copied, so that size checked and size used are one even if somebody writes into `expected` meanwhile. */
        unsigned char mine[ENTRY_SIZE];
        struct outcome outcome;
        memcpy(mine, record, ENTRY_SIZE);
        if (get_u64(mine + ENTRY_SIZE_FIELD) > end - offset) break;
        read_one(directory, names->start[done], mine, room + offset, &outcome);
        put_u64(result, offset);
        put_u64(result + 8, outcome.length);
        put_u32(result + 16, (uint32_t)outcome.status);
        put_u32(result + 20, (uint32_t)outcome.error);
        put_u32(result + 24, outcome.flags);
        put_u32(result + 28, outcome.xattrs);
        offset += outcome.length;
    }
    Py_END_ALLOW_THREADS
    return native_prefix(results, done * RESULT_SIZE);
}

PyObject *native_read_files(PyObject *self, PyObject *args, PyObject *keywords) {
    (void)self;
    static char *argument_names[] = {"fd", "names", "expected", "buffer", "offset", NULL};
    PyObject *fd_object, *names_object, *expected_object, *buffer_object, *offset_object, *results = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOO:read_files", argument_names, &fd_object, &names_object,
                                     &expected_object, &buffer_object, &offset_object))
        return NULL;
    int directory;
    if (native_directory(fd_object, &directory) < 0) return NULL;
    Py_buffer view, expected, buffer;
    struct names names;
    long long offset;
    if (PyObject_GetBuffer(names_object, &view, PyBUF_SIMPLE) < 0) return NULL;
    const int failed = native_names(&view, &names);
    PyBuffer_Release(&view);
    if (failed) return NULL;
    if (PyObject_GetBuffer(expected_object, &expected, PyBUF_SIMPLE) < 0) goto free_names;
    if (PyObject_GetBuffer(buffer_object, &buffer, PyBUF_WRITABLE) < 0) goto release_expected;
    if ((uint64_t)expected.len != (uint64_t)names.count * ENTRY_SIZE) {
        PyErr_SetString(PyExc_ValueError, "expected must hold one ENTRY for each name");
    } else if (native_integer(offset_object, "offset", 0, buffer.len, &offset) == 0) {
        results = read_named(directory, &names, &expected, &buffer, (uint64_t)offset);
    }
    PyBuffer_Release(&buffer);
release_expected:
    PyBuffer_Release(&expected);
free_names:
    native_names_free(&names);
    return results;
}

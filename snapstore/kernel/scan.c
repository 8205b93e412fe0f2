/* scan_directory: one directory as two sorted blobs, by getdents64(2) and statx(2).
 *
 * First all names are collected and sorted, then two bytes objects of the largest size possible are allocated, and the
 * stat results are written straight into them; they shrink if a name vanished in between.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "native.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define DIRENT_BUFFER 65536
#define DIRENT_RECLEN 16
#define DIRENT_NAME 19

/* A chattr(1) of these moves ctime as well, but only these are worth telling apart without opening the file. */
#define SEEN_ATTRIBUTES (STATX_ATTR_COMPRESSED | STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND | STATX_ATTR_NODUMP)

struct found {
    uint64_t key; /* the first eight bytes, zero padded, as a big-endian number: decides most comparisons */
    size_t length;
    union {
        size_t offset; /* in the arena, while that still moves */
        const unsigned char *bytes;
    } name;
};

struct scan {
    int fd;
    char *arena; /* every name with its NUL, in the order of the directory */
    size_t arena_size, arena_room;
    struct found *found;
    size_t count, found_room;
    uint64_t *devices;
    size_t devices_count, devices_room;
    int64_t newest_s;
    uint32_t newest_ns;
    int any; /* an entry had times */
};

static int by_name(const void *left_, const void *right_) {
    const struct found *left = left_, *right = right_;
    if (left->key != right->key) return left->key < right->key ? -1 : 1;
    const size_t common = left->length < right->length ? left->length : right->length;
    const int order = memcmp(left->name.bytes, right->name.bytes, common);
    if (order != 0) return order;
    return left->length < right->length ? -1 : left->length > right->length;
}

static int add_name(struct scan *scan, const char *name) {
    const size_t length = strlen(name);
    if (length == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return 0;
    void *arena = scan->arena, *found = scan->found;
    int failed = native_grow(&arena, &scan->arena_room, scan->arena_size + length + 1, 1);
    scan->arena = arena;
    if (failed == 0) failed = native_grow(&found, &scan->found_room, scan->count + 1, sizeof *scan->found);
    scan->found = found;
    if (failed) {
        errno = ENOMEM;
        return -1;
    }
    struct found *entry = &scan->found[scan->count++];
    entry->key = 0;
    for (size_t i = 0; i < 8; i++) entry->key = entry->key << 8 | (i < length ? (unsigned char)name[i] : 0);
    entry->length = length;
    entry->name.offset = scan->arena_size;
    memcpy(scan->arena + scan->arena_size, name, length + 1);
    scan->arena_size += length + 1;
    return 0;
}

/* All names, sorted, each once: 0, or -1 with errno. Runs without the GIL. */
static int collect_names(struct scan *scan) {
    if (lseek(scan->fd, 0, SEEK_SET) < 0) return -1;
    char *buffer = malloc(DIRENT_BUFFER);
    if (buffer == NULL) return -1;
    for (;;) {
        const long size = syscall(SYS_getdents64, scan->fd, buffer, (size_t)DIRENT_BUFFER);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == ENOENT) break; /* removed while open: POSIX calls that the end, as readdir does */
        if (size < 0) {
            const int error = errno;
            free(buffer);
            errno = error;
            return -1;
        }
        if (size == 0) break;
        for (long at = 0; at < size;) {
            uint16_t length;
            memcpy(&length, buffer + at + DIRENT_RECLEN, sizeof length);
            if (add_name(scan, buffer + at + DIRENT_NAME) < 0) {
                free(buffer);
                errno = ENOMEM;
                return -1;
            }
            at += length;
        }
    }
    free(buffer);
    if (scan->count == 0) return 0;

    for (size_t i = 0; i < scan->count; i++) {
        scan->found[i].name.bytes = (const unsigned char *)scan->arena + scan->found[i].name.offset;
    }
    qsort(scan->found, scan->count, sizeof *scan->found, by_name);
    /* A directory that is renamed in while it is read may show one name twice. */
    size_t kept = 1;
    for (size_t i = 1; i < scan->count; i++) {
        if (by_name(&scan->found[kept - 1], &scan->found[i]) != 0) scan->found[kept++] = scan->found[i];
    }
    scan->count = kept;
    return 0;
}

static int stat_entry(int fd, const char *name, struct statx *status) {
    const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (name[0] == '\0' ? AT_EMPTY_PATH : 0);
    int result;
    do {
        result = statx(fd, name, flags, STATX_BASIC_STATS, status);
    } while (result < 0 && errno == EINTR);
    return result;
}

/* The index of a device number, which is appended if new; or -1 without memory. */
static int64_t device_index(struct scan *scan, uint64_t device) {
    for (size_t i = 0; i < scan->devices_count; i++) {
        if (scan->devices[i] == device) return (int64_t)i;
    }
    void *devices = scan->devices;
    const int failed = native_grow(&devices, &scan->devices_room, scan->devices_count + 1, sizeof *scan->devices);
    scan->devices = devices;
    if (failed) return -1;
    scan->devices[scan->devices_count] = device;
    return (int64_t)scan->devices_count++;
}

static void note_time(struct scan *scan, const struct statx_timestamp *time) {
    if (scan->any && (time->tv_sec < scan->newest_s ||
                      (time->tv_sec == scan->newest_s && time->tv_nsec <= scan->newest_ns)))
        return;
    scan->any = 1;
    scan->newest_s = time->tv_sec;
    scan->newest_ns = time->tv_nsec;
}

/* Fills names and records, and says how much of each it used: 0, or -1 without memory. Runs without the GIL. */
static int stat_entries(struct scan *scan, char *names, unsigned char *records, size_t *names_used, size_t *used) {
    struct statx status;
    char *name_at = names;
    unsigned char *record = records;
    for (size_t i = 0; i < scan->count; i++) {
        const struct found *entry = &scan->found[i];
        const int result = stat_entry(scan->fd, (const char *)entry->name.bytes, &status);
        const int error = result < 0 ? errno : 0;
        if (error == ENOENT) continue;
        memcpy(name_at, entry->name.bytes, entry->length + 1);
        name_at += entry->length + 1;
        memset(record, 0, ENTRY_SIZE);
        put_u32(record + ENTRY_ERROR, (uint32_t)error);
        if (error == 0) {
            const int64_t device = device_index(scan, makedev(status.stx_dev_major, status.stx_dev_minor));
            if (device < 0) return -1;
            const int directory = S_ISDIR(status.stx_mode);
            put_u64(record + ENTRY_INO, status.stx_ino);
            put_u64(record + ENTRY_SIZE_FIELD, directory ? 0 : status.stx_size);
            put_u64(record + ENTRY_RDEV, makedev(status.stx_rdev_major, status.stx_rdev_minor));
            put_u64(record + ENTRY_MTIME_S, (uint64_t)status.stx_mtime.tv_sec);
            put_u64(record + ENTRY_CTIME_S, (uint64_t)status.stx_ctime.tv_sec);
            put_u32(record + ENTRY_MTIME_NS, status.stx_mtime.tv_nsec);
            put_u32(record + ENTRY_CTIME_NS, status.stx_ctime.tv_nsec);
            put_u32(record + ENTRY_MODE, status.stx_mode);
            put_u32(record + ENTRY_UID, status.stx_uid);
            put_u32(record + ENTRY_GID, status.stx_gid);
            put_u32(record + ENTRY_NLINK, directory ? 0 : status.stx_nlink);
            put_u32(record + ENTRY_DEVICE, (uint32_t)device);
            put_u32(record + ENTRY_ATTRIBUTES,
                    (uint32_t)(status.stx_attributes & status.stx_attributes_mask & SEEN_ATTRIBUTES));
            note_time(scan, &status.stx_mtime);
            note_time(scan, &status.stx_ctime);
        }
        record += ENTRY_SIZE;
    }
    *names_used = (size_t)(name_at - names);
    *used = (size_t)(record - records);
    return 0;
}

static PyObject *devices_tuple(const struct scan *scan) {
    PyObject *tuple = PyTuple_New((Py_ssize_t)scan->devices_count);
    if (tuple == NULL) return NULL;
    for (size_t i = 0; i < scan->devices_count; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(scan->devices[i]);
        if (number == NULL || PyTuple_SetItem(tuple, (Py_ssize_t)i, number) < 0) {
            Py_DECREF(tuple);
            return NULL;
        }
    }
    return tuple;
}

/* Seconds * 10^9 + nanoseconds as a Python integer: 64 bits end in the year 2262, ext4 and xfs do not. */
static PyObject *newest_time(const struct scan *scan) {
    PyObject *seconds = PyLong_FromLongLong(scan->newest_s);
    PyObject *billion = PyLong_FromLong(1000000000L);
    PyObject *nanoseconds = PyLong_FromUnsignedLong(scan->newest_ns);
    PyObject *product = NULL, *sum = NULL;
    if (seconds != NULL && billion != NULL && nanoseconds != NULL) product = PyNumber_Multiply(seconds, billion);
    if (product != NULL) sum = PyNumber_Add(product, nanoseconds);
    Py_XDECREF(product);
    Py_XDECREF(nanoseconds);
    Py_XDECREF(billion);
    Py_XDECREF(seconds);
    return sum;
}

static PyObject *scan_open(struct scan *scan) {
    PyObject *names = NULL, *records = NULL, *devices = NULL, *newest = NULL, *answer = NULL;
    struct statx status;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = collect_names(scan);
    if (failed == 0) failed = stat_entry(scan->fd, "", &status);
    if (failed == 0 && device_index(scan, makedev(status.stx_dev_major, status.stx_dev_minor)) < 0) {
        errno = ENOMEM;
        failed = -1;
    }
    Py_END_ALLOW_THREADS
    if (failed) return errno == ENOMEM ? PyErr_NoMemory() : PyErr_SetFromErrno(PyExc_OSError);

    if (scan->count > (size_t)PY_SSIZE_T_MAX / ENTRY_SIZE) return PyErr_NoMemory();
    names = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)scan->arena_size);
    records = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(scan->count * ENTRY_SIZE));
    if (names == NULL || records == NULL) goto done;
    char *names_at = PyBytes_AsString(names);
    unsigned char *records_at = (unsigned char *)PyBytes_AsString(records);
    size_t names_used = 0, records_used = 0;
    Py_BEGIN_ALLOW_THREADS
    failed = stat_entries(scan, names_at, records_at, &names_used, &records_used);
    Py_END_ALLOW_THREADS
    if (failed) {
        PyErr_NoMemory();
        goto done;
    }
    names = native_prefix(names, names_used);
    records = native_prefix(records, records_used);
    if (names == NULL || records == NULL) goto done;
    devices = devices_tuple(scan);
    newest = newest_time(scan);
    if (devices != NULL && newest != NULL) answer = PyTuple_Pack(4, names, records, devices, newest);
done:
    Py_XDECREF(newest);
    Py_XDECREF(devices);
    Py_XDECREF(records);
    Py_XDECREF(names);
    return answer;
}

PyObject *native_scan_directory(PyObject *self, PyObject *args, PyObject *keywords) {
    (void)self;
    static char *argument_names[] = {"fd", NULL};
    PyObject *fd;
    struct scan scan;
    memset(&scan, 0, sizeof scan);
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O:scan_directory", argument_names, &fd)) return NULL;
    if (native_directory(fd, &scan.fd) < 0) return NULL;
    PyObject *answer = scan_open(&scan);
    free(scan.devices);
    free(scan.found);
    free(scan.arena);
    return answer;
}

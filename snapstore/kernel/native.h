/* What the four functions of snapstore.kernel._native share: record layouts, integers, buffers, names.
 *
 * The layouts are those of records.py; reference.py is the definition of what every function does.
 * Everything here needs the GIL unless it says otherwise. Linux only: getdents64, statx, O_NOATIME, FS_IOC_GETFLAGS.
 */
#ifndef SNAPSTORE_NATIVE_H
#define SNAPSTORE_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ENTRY_SIZE 80
#define RESULT_SIZE 32
#define WRITE_SIZE 32
#define SEGMENT_SIZE 20
#define WRITTEN_SIZE 8

/* Where each field of an ENTRY lies. */
#define ENTRY_INO 0
#define ENTRY_SIZE_FIELD 8
#define ENTRY_RDEV 16
#define ENTRY_MTIME_S 24
#define ENTRY_CTIME_S 32
#define ENTRY_MTIME_NS 40
#define ENTRY_CTIME_NS 44
#define ENTRY_MODE 48
#define ENTRY_UID 52
#define ENTRY_GID 56
#define ENTRY_NLINK 60
#define ENTRY_DEVICE 64
#define ENTRY_ATTRIBUTES 68
#define ENTRY_ERROR 72

enum status { STATUS_OK = 0, STATUS_ERROR = 1, STATUS_CHANGED = 2, STATUS_SPARSE = 3, STATUS_NOT_REGULAR = 4 };

enum step {
    STEP_DONE = 0,
    STEP_OPEN = 1,
    STEP_WRITE = 2,
    STEP_CHOWN = 3,
    STEP_CHMOD = 4,
    STEP_TIMES = 5,
    STEP_CLOSE = 6,
};

/* Files from this size on are asked for holes before they are read. */
#define SPARSE_CHECK_SIZE 65536

/* The flags that chattr(1) can set; what a file system keeps for itself (extents, index, verity, …) is left out. */
#define CHATTR_FLAGS                                                                                                   \
    (0x00000001u /* secure deletion */ | 0x00000002u /* undelete */ | 0x00000004u /* compress */ |                     \
     0x00000008u /* sync */ | 0x00000010u /* immutable */ | 0x00000020u /* append */ | 0x00000040u /* nodump */ |      \
     0x00000080u /* noatime */ | 0x00000400u /* do not compress */ | 0x00004000u /* journal data */ |                  \
     0x00008000u /* no tail */ | 0x00010000u /* dirsync */ | 0x00020000u /* top directory */ |                         \
     0x00800000u /* no copy-on-write */ | 0x02000000u /* direct access */ | 0x20000000u /* inherit project */ |        \
     0x40000000u /* casefold */)

/* Little-endian fields at any alignment; gcc makes one instruction of each. No GIL needed. */
static inline void put_u32(unsigned char *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (unsigned char)(value >> (8 * i));
}
static inline void put_u64(unsigned char *at, uint64_t value) {
    for (int i = 0; i < 8; i++) at[i] = (unsigned char)(value >> (8 * i));
}
static inline uint32_t get_u32(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}
static inline uint64_t get_u64(const unsigned char *at) {
    return (uint64_t)get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

/* 0 and the integer in *out, or -1 with ValueError outside of low..high (however large), TypeError for no integer. */
int native_integer(PyObject *object, const char *what, long long low, long long high, long long *out);

/* 0 and the descriptor of an open directory in *out, or -1 with ValueError (negative) or OSError (closed, a file). */
int native_directory(PyObject *object, int *out);

/* `bytes` itself if it is `used` long, else a copy of so much of it; takes over the reference. NULL with MemoryError.
 * The limited API has no way to shrink bytes in place. */
PyObject *native_prefix(PyObject *bytes, size_t used);

/* Makes room for `need` items of `width` bytes, doubling; 0, or -1 with everything as it was. No GIL needed. */
int native_grow(void **block, size_t *capacity, size_t need, size_t width);

/* Names cut out of a NUL-terminated run, in memory of our own: nobody can take a terminator away while we read. */
struct names {
    char *bytes;
    char **start;
    size_t count;
};

/* 0, or -1 with ValueError for a missing last NUL and for names that are empty, ".", ".." or hold a slash. */
int native_names(const Py_buffer *view, struct names *out);
void native_names_free(struct names *names);

PyObject *native_cut_points(PyObject *self, PyObject *args, PyObject *keywords);
PyObject *native_scan_directory(PyObject *self, PyObject *args, PyObject *keywords);
PyObject *native_read_files(PyObject *self, PyObject *args, PyObject *keywords);
PyObject *native_write_files(PyObject *self, PyObject *args, PyObject *keywords);

#endif

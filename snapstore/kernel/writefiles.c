/* write_files: many new files of one directory out of segments of buffers. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "native.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH 64 /* parts per pwritev; far below IOV_MAX, and few files have more chunks */
#define KEEP_ID 0xFFFFFFFFu

struct segment {
    const unsigned char *bytes;
    size_t length;
};

struct spec {
    int64_t mtime_s;
    uint32_t mtime_ns, mode, uid, gid, first, count;
};

struct job {
    int directory;
    struct names names;
    struct spec *specs;
    struct segment *segments;
    size_t segments_count;
    Py_buffer *views;
    size_t views_count;
};

/* All bytes of the segments, from the start of the file on: 0, or an errno. Runs without the GIL. */
static int write_segments(int fd, const struct segment *segment, size_t count) {
    off_t at = 0;
    size_t skip = 0; /* bytes of the first segment that are written already */
    while (count > 0) {
        struct iovec parts[BATCH];
        const size_t batch = count < BATCH ? count : BATCH;
        size_t wanted = 0;
        for (size_t i = 0; i < batch; i++) {
            parts[i].iov_base = (void *)(segment[i].bytes + (i == 0 ? skip : 0));
            parts[i].iov_len = segment[i].length - (i == 0 ? skip : 0);
            /* The sum of one call must fit in ssize_t (EINVAL otherwise); overlapping segments can exceed it. */
            if (parts[i].iov_len > (size_t)SSIZE_MAX - wanted) parts[i].iov_len = (size_t)SSIZE_MAX - wanted;
            wanted += parts[i].iov_len;
        }
        ssize_t written = 0;
        if (wanted > 0) {
            written = pwritev(fd, parts, (int)batch, at);
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) return errno;
            if (written == 0) return EIO; /* no error and no progress: do not spin */
        }
        at += written;
        size_t left = (size_t)written;
        while (count > 0 && left >= segment->length - skip) {
            left -= segment->length - skip;
            skip = 0;
            segment++;
            count--;
        }
        skip += left;
    }
    return 0;
}

static int repeat_chown(int fd, uint32_t uid, uint32_t gid) {
    int result;
    do {
        result = fchown(fd, (uid_t)uid, (gid_t)gid);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? errno : 0;
}

static int repeat_chmod(int fd, uint32_t mode) {
    int result;
    do {
        result = fchmod(fd, (mode_t)mode);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? errno : 0;
}

static int repeat_times(int fd, const struct spec *spec) {
    const struct timespec times[2] = {
        {.tv_sec = 0, .tv_nsec = UTIME_OMIT},
        {.tv_sec = (time_t)spec->mtime_s, .tv_nsec = (long)spec->mtime_ns},
    };
    int result;
    do {
        result = futimens(fd, times);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? errno : 0;
}

static void note_failure(enum step *step, int *error, enum step at, int with) {
    if (with != 0 && *step == STEP_DONE) {
        *step = at;
        *error = with;
    }
}

/* One file; *step and *error say how far it came. Runs without the GIL. */
static void write_one(const struct job *job, const char *name, const struct spec *spec, enum step *step, int *error) {
    *step = STEP_DONE;
    *error = 0;
    int fd;
    do {
        fd = openat(job->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        note_failure(step, error, STEP_OPEN, errno);
        return;
    }
    uint32_t mode = spec->mode;
    note_failure(step, error, STEP_WRITE, write_segments(fd, job->segments + spec->first, spec->count));
    if (*step == STEP_DONE) {
        if (spec->uid != KEEP_ID || spec->gid != KEEP_ID) {
            note_failure(step, error, STEP_CHOWN, repeat_chown(fd, spec->uid, spec->gid));
            /* Set-id bits were meant for that owner; for any other they would hand out rights nobody gave. */
            if (*step != STEP_DONE) mode &= ~(uint32_t)(S_ISUID | S_ISGID);
        }
        note_failure(step, error, STEP_CHMOD, repeat_chmod(fd, mode));
        note_failure(step, error, STEP_TIMES, repeat_times(fd, spec));
    }
    /* Linux frees the descriptor whatever close says, and EINTR says nothing about the data; network file systems
     * report lost writes here. */
    if (close(fd) < 0 && errno != EINTR && *step != STEP_WRITE) {
        *step = STEP_CLOSE;
        *error = errno;
    }
    if (*step == STEP_WRITE || *step == STEP_CLOSE) unlinkat(job->directory, name, 0);
}

static PyObject *write_job(const struct job *job) {
    PyObject *written = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(job->names.count * WRITTEN_SIZE));
    if (written == NULL) return NULL;
    unsigned char *at = (unsigned char *)PyBytes_AsString(written);
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < job->names.count; i++, at += WRITTEN_SIZE) {
        enum step step;
        int error;
        write_one(job, job->names.start[i], &job->specs[i], &step, &error);
        put_u32(at, (uint32_t)step);
        put_u32(at + 4, (uint32_t)error);
    }
    Py_END_ALLOW_THREADS
    return written;
}

/* Views of all buffers: 0, or -1 with an exception; what was taken is in job either way. */
static int take_views(struct job *job, PyObject *buffers) {
    PyObject *tuple = PySequence_Tuple(buffers);
    if (tuple == NULL) return -1;
    const Py_ssize_t count = PyTuple_Size(tuple);
    int failed = 0;
    if (count > 0) {
        job->views = calloc((size_t)count, sizeof *job->views);
        if (job->views == NULL) {
            PyErr_NoMemory();
            failed = -1;
        }
    }
    for (Py_ssize_t i = 0; i < count && failed == 0; i++) {
        failed = PyObject_GetBuffer(PyTuple_GetItem(tuple, i), &job->views[i], PyBUF_SIMPLE);
        if (failed == 0) job->views_count++;
    }
    Py_DECREF(tuple);
    return failed;
}

static int take_segments(struct job *job, PyObject *object) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) return -1;
    int failed = -1;
    if (view.len % SEGMENT_SIZE != 0) {
        PyErr_SetString(PyExc_ValueError, "segments must hold whole SEGMENT records");
        goto done;
    }
    job->segments_count = (size_t)view.len / SEGMENT_SIZE;
    job->segments = calloc(job->segments_count + 1, sizeof *job->segments);
    if (job->segments == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    const unsigned char *record = view.buf;
    for (size_t i = 0; i < job->segments_count; i++, record += SEGMENT_SIZE) {
        const uint32_t index = get_u32(record);
        const uint64_t offset = get_u64(record + 4), length = get_u64(record + 12);
        if (index >= job->views_count) {
            PyErr_Format(PyExc_ValueError, "segment %zu names a buffer that is not there", i);
            goto done;
        }
        const uint64_t size = (uint64_t)job->views[index].len;
        if (offset > size || length > size - offset) {
            PyErr_Format(PyExc_ValueError, "segment %zu reaches beyond its buffer", i);
            goto done;
        }
        job->segments[i].bytes = (const unsigned char *)job->views[index].buf + offset;
        job->segments[i].length = (size_t)length;
    }
    failed = 0;
done:
    PyBuffer_Release(&view);
    return failed;
}

static int take_specs(struct job *job, PyObject *object) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) return -1;
    int failed = -1;
    if ((uint64_t)view.len != (uint64_t)job->names.count * WRITE_SIZE) {
        PyErr_SetString(PyExc_ValueError, "specs must hold one WRITE for each name");
        goto done;
    }
    job->specs = calloc(job->names.count + 1, sizeof *job->specs);
    if (job->specs == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    const unsigned char *record = view.buf;
    for (size_t i = 0; i < job->names.count; i++, record += WRITE_SIZE) {
        struct spec *spec = &job->specs[i];
        spec->mtime_s = (int64_t)get_u64(record);
        spec->mtime_ns = get_u32(record + 8);
        spec->mode = get_u32(record + 12);
        spec->uid = get_u32(record + 16);
        spec->gid = get_u32(record + 20);
        spec->first = get_u32(record + 24);
        spec->count = get_u32(record + 28);
        if (spec->mtime_ns >= 1000000000u) {
            PyErr_Format(PyExc_ValueError, "file %zu has more than 999999999 nanoseconds", i);
            goto done;
        }
        if (spec->mode > 07777) {
            PyErr_Format(PyExc_ValueError, "file %zu has mode bits beyond 07777", i);
            goto done;
        }
        if (spec->first > job->segments_count || spec->count > job->segments_count - spec->first) {
            PyErr_Format(PyExc_ValueError, "file %zu names segments that are not there", i);
            goto done;
        }
    }
    failed = 0;
done:
    PyBuffer_Release(&view);
    return failed;
}

static int take_names(struct job *job, PyObject *object) {
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) return -1;
    const int failed = native_names(&view, &job->names);
    PyBuffer_Release(&view);
    return failed;
}

PyObject *native_write_files(PyObject *self, PyObject *args, PyObject *keywords) {
    (void)self;
    static char *argument_names[] = {"fd", "names", "specs", "segments", "buffers", NULL};
    PyObject *fd, *names, *specs, *segments, *buffers, *written = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "OOOOO:write_files", argument_names, &fd, &names, &specs,
                                     &segments, &buffers))
        return NULL;
    struct job job;
    memset(&job, 0, sizeof job);
    if (native_directory(fd, &job.directory) == 0 && take_names(&job, names) == 0 && take_views(&job, buffers) == 0 &&
        take_segments(&job, segments) == 0 && take_specs(&job, specs) == 0)
        written = write_job(&job);
    for (size_t i = 0; i < job.views_count; i++) PyBuffer_Release(&job.views[i]);
    free(job.views);
    free(job.segments);
    free(job.specs);
    native_names_free(&job.names);
    return written;
}

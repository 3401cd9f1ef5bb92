/* SPDX-License-Identifier: Apache-2.0 */
/* model/file.h - files: mapped for reading, written whole or not at all; huge pages. */
#ifndef EK_MODEL_FILE_H
#define EK_MODEL_FILE_H
#include "model/error.h"

#include <stddef.h>

/** A file mapped read-only; data is NULL for an empty one. */
struct file {
    const unsigned char *data;
    size_t               bytes;
};

/** Maps path. EK_E_IO when it cannot be opened, is no regular file or cannot be mapped. */
ek_status file_map(struct file *f, const char *path, struct error *e);
void      file_unmap(struct file *f);

/** Asks for huge pages, which are read faster; what is smaller than one stays as it is. */
enum { HUGE_PAGE = 2 << 20 };
void want_huge_pages(void *p, size_t bytes);

/** Reads all of path, at most limit bytes, into malloc'd memory with a '\0' behind it. */
ek_status file_read(const char *path, size_t limit, char **data, size_t *bytes, struct error *e);

/** A file in the making: a temporary one beside path, which it replaces when it is whole. */
struct file_writer {
    int  fd;
    char path[4096], temporary[4096];
};
ek_status file_create(struct file_writer *w, const char *path, struct error *e);
ek_status file_append(struct file_writer *w, const void *data, size_t bytes, struct error *e);
/** keep: syncs and renames; otherwise, or on an error, nothing of it is left. */
ek_status file_finish(struct file_writer *w, int keep, struct error *e);

/** Replaces path by bytes: a temporary file beside it, synced, then renamed. */
ek_status file_write(const char *path, const void *data, size_t bytes, struct error *e);

/** 1 where path exists (a directory too). */
int file_exists(const char *path);

/** "dir/name" into out; EK_E_ARG when it does not fit. */
ek_status path_join(char *out, size_t size, const char *dir, const char *name, struct error *e);
#endif

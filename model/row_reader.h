/* SPDX-License-Identifier: Apache-2.0 */
/* model/row_reader.h - many small reads of one file at once, past the page cache: what lies on a
 * disk is fetched by as many requests in flight as the disk likes, neighbours in one. */
#ifndef EK_MODEL_ROW_READER_H
#define EK_MODEL_ROW_READER_H
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct row_reader;

/** One piece of a file and where it goes. */
struct row_read {
    uint64_t at;
    size_t   bytes;
    void    *to;
};

/** In place of pread, for tests: as pread(2), -1 with errno. Called by several threads at once. */
struct row_source {
    ssize_t (*read)(void *self, void *to, size_t bytes, uint64_t at);
    void *self;
};

struct row_reader_options {
    size_t                   requests; /* in flight, one thread each; 0: 32                    */
    const struct row_source *source;   /* NULL: the file                                       */
};

/**
 * Opens path for reading rows. Reads go around the page cache (O_DIRECT) where the file system lets
 * them; else through it, without read-ahead.
 *
 * Memory   a buffer of 128 KiB for each request in flight
 * Returns  EK_OK; EK_E_IO; EK_E_NOMEM (threads too). */
ek_status row_reader_open(struct row_reader **out, const char *path,
                          const struct row_reader_options *o, struct error *e);
void      row_reader_close(struct row_reader *r);

/**
 * Reads all of a list, ascending by place and without overlaps, each piece to its own memory.
 *
 * Threads  one call at a time; blocks until all is read
 * Returns  EK_OK; EK_E_IO, *e naming the file: an error of the system, or the file ends early. Some
 *          pieces may then have been written. */
ek_status row_reader_read(struct row_reader *r, const struct row_read *list, size_t count,
                          struct error *e);

/** Bytes and requests that the file was asked for, whole blocks, since it was opened. */
void row_reader_counts(const struct row_reader *r, uint64_t *bytes, uint64_t *requests);

/** 1 where reads go around the page cache. */
int row_reader_direct(const struct row_reader *r);
#endif

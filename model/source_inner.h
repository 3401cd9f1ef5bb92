/* SPDX-License-Identifier: Apache-2.0 */
/* model/source_inner.h - what the readers of the single file kinds share. */
#ifndef EK_MODEL_SOURCE_INNER_H
#define EK_MODEL_SOURCE_INNER_H
#include "model/file.h"
#include "model/safetensors.h"
#include "model/source.h"

#include <stddef.h>

/** A source under construction. Everything it holds is freed by source_close. */
struct source_own {
    struct file *files;
    void       **blocks; /* malloc'd */
    size_t       file_count, block_count, tensor_room;
};

/** A source without anything; NULL when memory runs out. */
struct source *source_make(const char *path);
/** Maps a weight file that stays until the source is closed. */
ek_status source_map(struct source *s, const char *path, struct file *f, struct error *e);
/** Memory that lives as long as the source; NULL when there is none. */
void *source_alloc(struct source *s, size_t bytes);
/** Adds a copy of t and of its name; data that is not aligned to its elements is copied too. */
ek_status source_add(struct source *s, const struct tensor *t, struct error *e);

/** Readers: each fills config and tensors. */
ek_status source_read_directory(struct source *s, struct error *e);
ek_status source_read_gguf(struct source *s, struct error *e);
ek_status source_read_llama2c(struct source *s, struct error *e);

/** One parsed file of tensors; file: its path, living as long as s. */
ek_status source_add_safetensors(struct source *s, const struct safetensors *st, const char *file,
                                 struct error *e);
/** The same from what lies in memory: s->gguf is parsed; f lives as long as s. */
ek_status source_from_gguf(struct source *s, struct error *e);
ek_status source_from_llama2c(struct source *s, const struct file *f, struct error *e);

/** GGUF metadata as a config. */
ek_status config_from_gguf(struct config *c, const struct gguf *g, const char *path,
                           struct error *e);
/** The scaling that Llama 3's table of factors for each frequency stands for. */
ek_status rope_from_factors(struct ek_rope_config *r, size_t rot, const float *factors,
                            const char *path, struct error *e);

/** Sorts; finds duplicates; decides whether the head is tied; checks names, types and shapes
 * against the config. */
ek_status source_check(struct source *s, struct error *e);
#endif

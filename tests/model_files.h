/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model_files.h - tiny model files for the tests of their readers. */
#ifndef EK_TESTS_MODEL_FILES_H
#define EK_TESTS_MODEL_FILES_H
#include "model/config.h"

#include <stddef.h>
#include <stdint.h>

/* A growing block of bytes. */
struct bytes {
    unsigned char *data;
    size_t         n, room; /* room is bytes_add's own */
};
void bytes_add(struct bytes *b, const void *data, size_t n);
void bytes_pad(struct bytes *b, size_t multiple);
void bytes_free(struct bytes *b);
void bytes_write(const struct bytes *b, const char *dir, const char *name);
void text_write(const char *text, const char *dir, const char *name);

/* A fresh directory under /tmp, and its removal with the plain files and directories in it. */
void directory_make(char path[64]);
void directory_remove(const char *path);

/* Deterministic, about [-1, 1]. */
float noise(uint64_t *state);

/* Hidden 32, 2 layers, heads 4/2 x 8, MLP 48, vocabulary 64: a llama, and its config.json. */
struct config tiny_config(const char *arch, int tied);

/* The tensors of c with noise as f32 safetensors: header text and data apart, to be spoilt. */
struct hf_model {
    char        *header;
    struct bytes data;
};
struct hf_model hf_make(const struct config *c);
/* Replaces the first `from` in the header, which must be there. */
void hf_replace(struct hf_model *m, const char *from, const char *to);
void hf_write(const struct hf_model *m, const char *dir, const char *name);
void hf_free(struct hf_model *m);
/* The three in one: a directory with config.json and model.safetensors. */
void hf_directory(const struct config *c, const char *dir);

/* A GGUF file in the making: metadata, then tensors, then gguf_finish. */
struct gguf_file {
    struct bytes values, tensors, data, all;
    uint64_t     value_count, tensor_count;
};
void gguf_put_u32(struct gguf_file *f, const char *key, uint32_t v);
void gguf_put_f32(struct gguf_file *f, const char *key, float v);
void gguf_put_text(struct gguf_file *f, const char *key, const char *v);
/* n = 0: a vector of k. type: ggml's number. */
void gguf_put_tensor(struct gguf_file *f, const char *name, uint32_t type, size_t n, size_t k,
                     const void *data, size_t bytes);
void gguf_finish(struct gguf_file *f);
void gguf_file_free(struct gguf_file *f);
/* Metadata of c; all tensors of c as blocks of ggml type `type` (norms f32), filled with noise. */
void gguf_model(struct gguf_file *f, const struct config *c, uint32_t type);
#endif

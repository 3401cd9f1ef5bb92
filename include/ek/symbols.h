/* SPDX-License-Identifier: Apache-2.0 */
/* ek/symbols.h - every public symbol, once. Defining EK_PREFIX (say, acme_) when the library and
 * its users are built renames them all, so that two copies can live in one program.
 * tools/package.sh holds this list against what the library exports. */
#ifndef EK_SYMBOLS_H
#define EK_SYMBOLS_H

#if defined(EK_SHARED_BUILD)
#define EK_API __attribute__((visibility("default")))
#else
#define EK_API
#endif

#ifdef EK_PREFIX
#define EK_SYM_PASTE(prefix, name)  prefix##name
#define EK_SYM_EXPAND(prefix, name) EK_SYM_PASTE(prefix, name)
#define EK_SYM(name)                EK_SYM_EXPAND(EK_PREFIX, name)
#define ek_abi_version              EK_SYM(ek_abi_version)
#define ek_act                      EK_SYM(ek_act)
#define ek_add                      EK_SYM(ek_add)
#define ek_argmax                   EK_SYM(ek_argmax)
#define ek_attention                EK_SYM(ek_attention)
#define ek_attention_work_bytes     EK_SYM(ek_attention_work_bytes)
#define ek_bf16_from_f32            EK_SYM(ek_bf16_from_f32)
#define ek_cpu_detect               EK_SYM(ek_cpu_detect)
#define ek_cpu_name                 EK_SYM(ek_cpu_name)
#define ek_cpu_restrict             EK_SYM(ek_cpu_restrict)
#define ek_f16_from_f32             EK_SYM(ek_f16_from_f32)
#define ek_f32_from_bf16            EK_SYM(ek_f32_from_bf16)
#define ek_f32_from_f16             EK_SYM(ek_f32_from_f16)
#define ek_fmt_from_name            EK_SYM(ek_fmt_from_name)
#define ek_fmt_info                 EK_SYM(ek_fmt_info)
#define ek_gqa_chunks               EK_SYM(ek_gqa_chunks)
#define ek_gqa_scratch_bytes        EK_SYM(ek_gqa_scratch_bytes)
#define ek_gqa_tiles                EK_SYM(ek_gqa_tiles)
#define ek_head                     EK_SYM(ek_head)
#define ek_head_bytes               EK_SYM(ek_head_bytes)
#define ek_head_rows                EK_SYM(ek_head_rows)
#define ek_head_screen_build        EK_SYM(ek_head_screen_build)
#define ek_head_screen_bytes        EK_SYM(ek_head_screen_bytes)
#define ek_head_work_bytes          EK_SYM(ek_head_work_bytes)
#define ek_kernel_at                EK_SYM(ek_kernel_at)
#define ek_kernel_count             EK_SYM(ek_kernel_count)
#define ek_kernels_default          EK_SYM(ek_kernels_default)
#define ek_kernels_select           EK_SYM(ek_kernels_select)
#define ek_kv_bytes                 EK_SYM(ek_kv_bytes)
#define ek_kv_load                  EK_SYM(ek_kv_load)
#define ek_kv_store                 EK_SYM(ek_kv_store)
#define ek_layernorm                EK_SYM(ek_layernorm)
#define ek_linear                   EK_SYM(ek_linear)
#define ek_linear_work_bytes        EK_SYM(ek_linear_work_bytes)
#define ek_op_info                  EK_SYM(ek_op_info)
#define ek_padded_k                 EK_SYM(ek_padded_k)
#define ek_quantize                 EK_SYM(ek_quantize)
#define ek_rmsnorm                  EK_SYM(ek_rmsnorm)
#define ek_rope                     EK_SYM(ek_rope)
#define ek_rope_table               EK_SYM(ek_rope_table)
#define ek_softmax                  EK_SYM(ek_softmax)
#define ek_status_text              EK_SYM(ek_status_text)
#define ek_tile_f32                 EK_SYM(ek_tile_f32)
#define ek_tile_f32_bytes           EK_SYM(ek_tile_f32_bytes)
#define ek_tile_i8                  EK_SYM(ek_tile_i8)
#define ek_tile_i8_bytes            EK_SYM(ek_tile_i8_bytes)
#define ek_topk                     EK_SYM(ek_topk)
#define ek_version                  EK_SYM(ek_version)
#define ek_weights_bytes            EK_SYM(ek_weights_bytes)
#define ek_weights_dequantize       EK_SYM(ek_weights_dequantize)
#define ek_weights_gather           EK_SYM(ek_weights_gather)
#define ek_weights_pack             EK_SYM(ek_weights_pack)
#define ek_weights_quantize         EK_SYM(ek_weights_quantize)
#define ek_weights_unpack           EK_SYM(ek_weights_unpack)
#else
#define EK_SYM(name) name
#endif

#endif

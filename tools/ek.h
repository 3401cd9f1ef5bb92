/* SPDX-License-Identifier: Apache-2.0 */
/* tools/ek.h - the subcommands of ek. Each returns the exit status: 0 ok, 1 run error, 2 usage. */
#ifndef EK_TOOLS_EK_H
#define EK_TOOLS_EK_H

enum { EXIT_OK = 0, EXIT_RUN = 1, EXIT_USAGE = 2 };

int cmd_ablate(int argc, char **argv);
int cmd_stack(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_calibrate(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_synth(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_ppl(int argc, char **argv);
int cmd_profile(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_speed(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_train_predictor(int argc, char **argv);
int cmd_train_router(int argc, char **argv);
#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* ek/ek.h - the whole public interface. */
#ifndef EK_EK_H
#define EK_EK_H
#include "ek/attention.h"
#include "ek/cpu.h"
#include "ek/formats.h"
#include "ek/head.h"
#include "ek/kernels.h"
#include "ek/linear.h"
#include "ek/mask.h"
#include "ek/pool.h"
#include "ek/predictor.h"
#include "ek/sparse.h"
#include "ek/status.h"
#include "ek/vector.h"
#include "ek/version.h"
#include "ek/wcache.h"
#endif

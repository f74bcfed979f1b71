// SPDX-License-Identifier: Apache-2.0
#pragma once

// Models on a GPU, for source files that any compiler compiles: config, checked, model, session, caches and text, without Eigen and xsimd. One source file of
// the program, compiled by nvcc, includes <goldfinch/cuda.cuh> instead and instantiates the models:
//
//     inline constexpr gf::config C = gf::checked({...});                      // a header for both
//     using lm = gf::model<C, gf::cuda<gf::bf16>>;
//     extern template class gf::model<C, gf::cuda<gf::bf16>>;
//
//     template class goldfinch::model<C, goldfinch::cuda<goldfinch::bf16>>;    // the .cu, which holds nothing else
//
// A stack that is not the default one has a name of its own there, struct mine : gf::finch_stack<C> {}; since nvcc cannot spell a config in what is instantiated.

#include <goldfinch/architectures.hpp>
#include <goldfinch/backend/cuda.hpp>
#include <goldfinch/cache/compressed_keys.hpp>
#include <goldfinch/cache/expanded_kv.hpp>
#include <goldfinch/cache/full_keys.hpp>
#include <goldfinch/config.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/inspect.hpp>
#include <goldfinch/model.hpp>
#include <goldfinch/numeric.hpp>
#include <goldfinch/session.hpp>
#include <goldfinch/stack.hpp>
#include <goldfinch/text/byte_tokenizer.hpp>
#include <goldfinch/text/draft.hpp>
#include <goldfinch/text/generate.hpp>
#include <goldfinch/text/sampler.hpp>
#include <goldfinch/text/world_tokenizer.hpp>
#include <goldfinch/view.hpp>

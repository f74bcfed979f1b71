// SPDX-License-Identifier: Apache-2.0
// All of the model is compiled here, once.
#include "shakespeare.hpp"

template class goldfinch::model<shakespeare_config>;
template class goldfinch::session<shakespeare>;

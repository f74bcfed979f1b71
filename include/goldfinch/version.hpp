// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one place that states the version: CMakeLists.txt reads these lines.
#define GOLDFINCH_VERSION_MAJOR 0
#define GOLDFINCH_VERSION_MINOR 1
#define GOLDFINCH_VERSION_PATCH 0

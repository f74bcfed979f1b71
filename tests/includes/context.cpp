// SPDX-License-Identifier: Apache-2.0
#include <boost/context/fiber.hpp>

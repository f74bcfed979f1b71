// SPDX-License-Identifier: Apache-2.0
// goldfinch-inspect: says what a checkpoint holds and which C++ type fits it.

#include <string>

#include <goldfinch/inspect.hpp>

#include "commands/program.hpp"

int main(int argc, char** argv) {
    std::string file;
    auto const app = commands::make_app("goldfinch-inspect", "FILE", "Prints what a checkpoint holds, its config, and the C++ type that fits it.");
    app->add_option("FILE", file, "checkpoint: .safetensors or .pth")->required()->option_text(" ");
    return commands::run(*app, argc, argv, [&] { commands::print(goldfinch::inspect(file)); });
}

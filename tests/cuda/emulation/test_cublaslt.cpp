// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cuda/emulation.hpp>
#include <vector>

// The stand-in for cuBLASLt: products as its documents define them, and what it refuses.

namespace {

using emulation::buffer;

/// A product d [2, 3] = op(a) op(b) of four terms, whose numbers are those of a host.
struct small_product {
    cublasLtMatmulDescOpaque_t operation{CUBLAS_COMPUTE_32F, CUDA_R_32F, {{CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T}}};
    cublasLtMatrixLayoutOpaque_t a{CUDA_R_32F, 4, 2, 4}, b{CUDA_R_32F, 4, 3, 8}, d{CUDA_R_32F, 2, 3, 4};
    cublasLtMatmulPreferenceOpaque_t wishes{1024, {16, 16, 16, 16}};
    cublasLtMatmulHeuristicResult_t chosen{};
    buffer<float> A{std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}}, B{std::vector<float>(24, 1)}, D{std::vector<float>(12, 9)};
    buffer<float> factors{std::vector<float>{0.5f, 0}};
    buffer<std::byte> workspace{512};
    float one = 1, zero = 0;

    cublasStatus_t choose() {
        int found = 0;
        return cublasLtMatmulAlgoGetHeuristic(nullptr, &operation, &a, &b, &d, &d, &wishes, 1, &chosen, &found);
    }
    cublasStatus_t multiply(void const* alpha, void const* beta, std::size_t offset = 0) {
        return cublasLtMatmul(nullptr, &operation, alpha, A.data() + offset, &a, B.data(), &b, beta, D.data(), &d, D.data(), &d, &chosen.algo, workspace.data(),
                              workspace.size(), nullptr);
    }
    cublasStatus_t multiply() { return multiply(&one, &zero); }
};

}  // namespace

TEST_CASE("a product is that of columns, of which the first matrix's are transposed, and writes no further") {
    small_product p;
    REQUIRE(p.choose() == CUBLAS_STATUS_SUCCESS);
    REQUIRE(p.multiply() == CUBLAS_STATUS_SUCCESS);
    CHECK(p.D.values() == std::vector<float>{10, 26, 9, 9, 10, 26, 9, 9, 10, 26, 9, 9});
    p.zero = 2;
    REQUIRE(p.multiply() == CUBLAS_STATUS_SUCCESS);
    CHECK(p.D.values() == std::vector<float>{30, 78, 9, 9, 30, 78, 9, 9, 30, 78, 9, 9});

    small_product plain;
    plain.operation.attributes.clear();
    plain.a = {CUDA_R_32F, 2, 4, 2};
    plain.wishes.alignment[0] = 8;
    REQUIRE(plain.choose() == CUBLAS_STATUS_SUCCESS);
    REQUIRE(plain.multiply() == CUBLAS_STATUS_SUCCESS);
    CHECK(plain.D.values()[0] == 16);
    CHECK(plain.D.values()[1] == 20);
}

TEST_CASE("numbers of 16 bits are what their formats say") {
    using emulation::detail::number;
    CHECK(number(0x3f80, CUDA_R_16BF) == 1);
    CHECK(number(0xc040, CUDA_R_16BF) == -3);
    CHECK(number(0x3c00, CUDA_R_16F) == 1);
    CHECK(number(0xc200, CUDA_R_16F) == -3);
    CHECK(number(0x7bff, CUDA_R_16F) == 65504);
    CHECK(number(0x0001, CUDA_R_16F) == std::ldexp(1.0, -24));
    CHECK(number(0xfc00, CUDA_R_16F) == -HUGE_VAL);
    CHECK(std::isnan(number(0x7e00, CUDA_R_16F)));
}

TEST_CASE("shapes that do not fit, and types that are not multiplied, are refused") {
    auto const refused = [](auto change) {
        small_product p;
        change(p);
        return p.choose();
    };
    CHECK(refused([](auto& p) { p.a.ld = 3; }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { p.a = {CUDA_R_32F, 2, 4, 4}; }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { p.operation.attributes.clear(); }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { p.d = {CUDA_R_32F, 3, 2, 3}; }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { p.b.columns = 4; }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { p.a.type = CUDA_R_16F; }) == CUBLAS_STATUS_NOT_SUPPORTED);
    CHECK(refused([](auto& p) { p.d.type = CUDA_R_16F; }) == CUBLAS_STATUS_NOT_SUPPORTED);
    CHECK(refused([](auto&) {}) == CUBLAS_STATUS_SUCCESS);
}

TEST_CASE("products of memory that is not there, other shapes, less alignment or factors elsewhere are refused") {
    auto const refused = [](auto change) {
        small_product p;
        REQUIRE(p.choose() == CUBLAS_STATUS_SUCCESS);
        return change(p);
    };
    CHECK(refused([](auto& p) { return p.b.ld = 12, p.choose(), p.multiply(); }) == CUBLAS_STATUS_INVALID_VALUE);  // beyond B
    CHECK(refused([](auto& p) { return p.b.ld = 4, p.multiply(); }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { return p.b.columns = p.d.columns = 2, p.multiply(); }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { return p.a.columns = p.d.rows = 1, p.choose(), p.multiply(&p.one, &p.zero, 2); }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { return p.d.ld = 3, p.choose(), p.multiply(); }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { return p.wishes.alignment[0] = 32, p.choose(), p.multiply(); }) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) { return p.multiply(p.factors.data(), p.factors.data() + 1); }) == CUBLAS_STATUS_INVALID_VALUE);
    auto const on_device = [](auto& p) { return p.operation.attributes[CUBLASLT_MATMUL_DESC_POINTER_MODE] = CUBLASLT_POINTER_MODE_DEVICE, p.multiply(); };
    CHECK(refused(on_device) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(refused([](auto& p) {
              p.operation.attributes[CUBLASLT_MATMUL_DESC_POINTER_MODE] = CUBLASLT_POINTER_MODE_DEVICE;
              auto const status = p.multiply(p.factors.data(), p.factors.data() + 1);
              CHECK(p.D.values()[0] == 5);
              return status;
          }) == CUBLAS_STATUS_SUCCESS);
    CHECK(refused([](auto& p) { return emulation::cublaslt::get().workspace = 513, p.multiply(); }) == CUBLAS_STATUS_INVALID_VALUE);
    emulation::cublaslt::get().workspace = 2048;
    small_product p;
    int found = 1;
    CHECK(cublasLtMatmulAlgoGetHeuristic(nullptr, &p.operation, &p.a, &p.b, &p.d, &p.d, &p.wishes, 1, &p.chosen, &found) == CUBLAS_STATUS_SUCCESS);
    CHECK(found == 0);
    emulation::cublaslt::get().workspace = 512;
}

TEST_CASE("the library is found by its name, where it is installed") {
    void* const library = emulation::open_library("libcublasLt.so.13");
    REQUIRE(library != nullptr);
    CHECK(emulation::find_function(library, "cublasLtMatmul") == reinterpret_cast<void*>(&cublasLtMatmul));
    CHECK(emulation::find_function(library, "cublasLtNothing") == nullptr);
    CHECK(emulation::open_library("libcublasLt.so.11") == nullptr);
    emulation::cublaslt::get().is_installed = false;
    CHECK(emulation::open_library("libcublasLt.so.13") == nullptr);
    emulation::cublaslt::get().is_installed = true;
}

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <goldfinch/backend/cuda/driver.hpp>
#include <goldfinch/backend/cuda/memory.hpp>
#include <goldfinch/backend/cuda/recorder.hpp>
#include <goldfinch/error.hpp>
#include <goldfinch/load.hpp>
#include <goldfinch/message.hpp>

namespace goldfinch {

/// The device, the stream and the temporaries of a model, and how many threads convert its weights. One call works at a time: others wait.
class cuda_runtime {
    using driver = detail::cuda_driver<>;

public:
    static constexpr std::size_t most_threads = 256;

    /// On the device and in the stream that the options name. Throws cuda_error where there is none, config_error for more than 256 threads.
    explicit cuda_runtime(load_options const& options) : own_stream_(options.stream == nullptr) {
        threads(options.threads);
        device_ = options.device.value_or(-1);
        if (device_ < 0) device_ = driver::device();
        driver::check_device(device_);
        detail::cuda_device_scope const at(device_);
        multiprocessors_ = driver::multiprocessors(device_);
        most_rebuilt_bytes_ = driver::cache_bytes(device_) / 3;
        recorder_.stream = own_stream_ ? driver::make_stream() : options.stream;
    }
    explicit cuda_runtime(std::size_t n = 0) : cuda_runtime(load_options{.threads = n}) {}
    cuda_runtime(cuda_runtime const&) = delete;
    cuda_runtime& operator=(cuda_runtime const&) = delete;
    ~cuda_runtime() {
        if (own_stream_) driver::free_stream(recorder_.stream);
    }

    void threads(std::size_t n) {
        if (n > most_threads) throw config_error(detail::message({"goldfinch: threads must be at most ", most_threads, ", found ", n}));
        threads_ = n > 0 ? n : std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, most_threads);
    }
    std::size_t threads() const { return threads_; }
    int device() const { return device_; }

    /// The right to work: the thread's device is the model's, and its work goes to the model's stream, until the scope ends, which waits for it. Throws what the
    /// end of an earlier one could not.
    class lease {
    public:
        explicit lease(cuda_runtime& runtime)
            : lock_(runtime.mutex_),
              device_(runtime.device_),
              executor_{&runtime.memory_, &runtime.recorder_, &runtime.cublaslt_, runtime.multiprocessors_, runtime.most_rebuilt_bytes_} {
            executor_.recorder->begin();
            executor_.memory->begin();
            before_ = std::exchange(driver::recorder(), executor_.recorder);
        }
        lease(lease const&) = delete;
        lease& operator=(lease const&) = delete;
        ~lease() {
            executor_.recorder->finish();
            driver::recorder() = before_;
        }
        cuda_executor const& executor() const { return executor_; }

    private:
        std::lock_guard<std::mutex> lock_;
        detail::cuda_device_scope device_;
        cuda_executor executor_;
        detail::cuda_recorder* before_;
    };

    /// Calls f(index) for every index below count, on all threads: work of the host, such as converting weights.
    template <class F>
    void each(std::size_t count, F const& f) {
        std::atomic<std::size_t> next{0};
        std::exception_ptr failure;
        std::mutex mutex;
        auto const work = [&] {
            try {
                detail::cuda_device_scope const at(device_);
                for (std::size_t i = next++; i < count; i = next++) f(i);
            } catch (...) {
                std::lock_guard const lock(mutex);
                failure = std::current_exception();
                next = count;
            }
        };
        std::vector<std::thread> helpers;
        try {
            for (std::size_t n = std::min<std::size_t>(threads_, count); n > 1; --n) helpers.emplace_back(work);
        } catch (std::exception const&) {  // fewer threads do it
        }
        work();
        for (std::thread& helper : helpers) helper.join();
        if (failure) std::rethrow_exception(failure);
    }

private:
    std::mutex mutex_;
    std::atomic<std::size_t> threads_{1};
    bool own_stream_;
    int device_ = 0, multiprocessors_ = 1;
    std::size_t most_rebuilt_bytes_ = 0;  // so that they stay in the cache beside what they are made from
    detail::cuda_scratch memory_;
    detail::cuda_recorder recorder_;
    std::shared_ptr<void> cublaslt_;
};

}  // namespace goldfinch

// Threads: torch's own where they can be found, else a small pool.
//
// A second OpenMP runtime in the process would fight torch's for the cores: its idle threads spin while the other's
// work. So none is linked. torch brings one (libgomp, libomp or libiomp5); all three answer GOMP_parallel.
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <dlfcn.h>
#include <link.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "table.h"

namespace isotherm {
namespace {

typedef void (*GompParallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags);

#if defined(__linux__)
int is_openmp(dl_phdr_info* info, size_t, void* found) {
  const char* name = info->dlpi_name;
  if (!name || !(strstr(name, "libgomp") || strstr(name, "libomp") || strstr(name, "libiomp"))) return 0;
  void* handle = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
  if (!handle) return 0;
  void* symbol = dlsym(handle, "GOMP_parallel");
  if (symbol) *static_cast<void**>(found) = symbol;
  return symbol != nullptr;
}
#endif

GompParallel find_openmp() {
  void* found = nullptr;
  const char* choice = std::getenv("ISOTHERM_THREADS");  // "pool" for tests of the fallback
  if (choice && !strcmp(choice, "pool")) return nullptr;
#if defined(__linux__)
  dl_iterate_phdr(is_openmp, &found);
#endif
  return reinterpret_cast<GompParallel>(found);
}

struct Job {
  std::atomic<int64_t> next{0};
  int64_t count;
  void (*body)(void*, int64_t);
  void* context;

  void work() {
    for (int64_t k; (k = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(context, k);
  }
};

// Workers sleep on a condition variable between jobs; one job at a time, others run on their caller alone.
class Pool {
 public:
  void run(Job& job, int threads) {
    std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) return job.work();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (int(workers_.size()) < threads - 1) workers_.emplace_back([this, id = int(workers_.size())] { loop(id); });
      job_ = &job;
      wanted_ = threads - 1;
      running_ = threads - 1;
      ++round_;
    }
    wake_.notify_all();
    job.work();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
    job_ = nullptr;
  }

 private:
  void loop(int id) {
    uint64_t seen = 0;
    for (;;) {
      Job* job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return round_ != seen && job_ && id < wanted_; });
        seen = round_;
        job = job_;
      }
      job->work();
      std::lock_guard<std::mutex> lock(mutex_);
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::mutex turn_, mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  Job* job_ = nullptr;
  int wanted_ = 0, running_ = 0;
  uint64_t round_ = 0;
};

GompParallel openmp() {
  static const GompParallel found = find_openmp();
  return found;
}

// Never destroyed: its threads sleep until the process ends. A forked child has none of them and starts its own.
std::atomic<Pool*> the_pool{nullptr};

Pool* pool() {
  static std::once_flag once;
#if defined(__unix__) || defined(__APPLE__)
  std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { the_pool = nullptr; }); });
#endif
  Pool* current = the_pool;
  if (current) return current;
  Pool* fresh = new Pool;
  if (the_pool.compare_exchange_strong(current, fresh)) return fresh;
  delete fresh;  // another thread was first; this one has no workers yet
  return current;
}

void work(void* job) { static_cast<Job*>(job)->work(); }

}  // namespace

void parallel(int64_t count, int threads, void (*body)(void*, int64_t), void* context) {
  Job job;
  job.count = count;
  job.body = body;
  job.context = context;
  if (count < threads) threads = int(count);
  if (threads <= 1) return job.work();
  if (GompParallel start = openmp()) return start(work, &job, unsigned(threads), 0);
  pool()->run(job, threads);
}

const char* thread_source() { return openmp() ? "torch's OpenMP" : "own pool"; }

void* acquire(int64_t bytes, bool is_zeroed) {
  const size_t rounded = (size_t(bytes) + 127) / 64 * 64;
  void* memory = std::aligned_alloc(64, rounded);
  if (!memory) throw std::bad_alloc();
  if (is_zeroed) std::memset(memory, 0, rounded);
  return memory;
}

void release(void* memory) { std::free(memory); }

}  // namespace isotherm

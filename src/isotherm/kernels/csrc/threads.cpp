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
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "table.h"

namespace isotherm {
namespace {

struct OpenMp {
  void (*parallel)(void (*body)(void*), void* data, unsigned threads, unsigned flags) = nullptr;
  int (*thread_number)() = nullptr;
};

#if defined(__linux__)
int is_openmp(dl_phdr_info* info, size_t, void* found) {
  const char* name = info->dlpi_name;
  if (!name || !(strstr(name, "libgomp") || strstr(name, "libomp") || strstr(name, "libiomp"))) return 0;
  void* handle = dlopen(name, RTLD_LAZY | RTLD_NOLOAD);
  if (!handle) return 0;
  void *parallel = dlsym(handle, "GOMP_parallel"), *thread_number = dlsym(handle, "omp_get_thread_num");
  if (!parallel || !thread_number) return 0;
  OpenMp& openmp = *static_cast<OpenMp*>(found);
  openmp.parallel = reinterpret_cast<decltype(openmp.parallel)>(parallel);
  openmp.thread_number = reinterpret_cast<decltype(openmp.thread_number)>(thread_number);
  return 1;
}
#endif

OpenMp find_openmp() {
  OpenMp found;
  const char* choice = std::getenv("ISOTHERM_THREADS");  // "pool" for tests of the fallback
  if (choice && !strcmp(choice, "pool")) return found;
#if defined(__linux__)
  dl_iterate_phdr(is_openmp, &found);
#endif
  return found;
}

std::atomic<int64_t> pairs_met{0}, exponentials_taken{0};

// Piece k belongs to thread k modulo their number, so that what one call leaves in a core's cache is there for the next; a
// thread that has done its own takes those of others.
constexpr int MAX_LANES = 64;

struct Job {
  struct alignas(64) Lane {
    std::atomic<int64_t> taken;
  };
  Lane lane[MAX_LANES];
  const int lanes;
  const int64_t count;
  void (*const body)(void*, int64_t);
  void* const context;

  Job(int64_t count_, int threads, void (*body_)(void*, int64_t), void* context_)
      : lanes(threads < MAX_LANES ? threads : MAX_LANES), count(count_), body(body_), context(context_) {
    for (int k = 0; k < lanes; ++k) lane[k].taken.store(0, std::memory_order_relaxed);
  }

  void work(int thread) {
    for (int step = 0; step < lanes; ++step) {
      const int own = (thread + step) % lanes;
      for (int64_t k; (k = own + lanes * lane[own].taken.fetch_add(1, std::memory_order_relaxed)) < count;) body(context, k);
    }
  }
};

// Workers sleep on a condition variable between jobs; one job at a time, others run on their caller alone.
class Pool {
 public:
  void run(Job& job, int threads) {
    std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) return job.work(0);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (int(workers_.size()) < threads - 1) workers_.emplace_back([this, id = int(workers_.size())] { loop(id); });
      job_ = &job;
      wanted_ = threads - 1;
      running_ = threads - 1;
      ++round_;
    }
    wake_.notify_all();
    job.work(0);
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
      job->work(id + 1);
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

const OpenMp& openmp() {
  static const OpenMp found = find_openmp();
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

void work(void* job) { static_cast<Job*>(job)->work(openmp().thread_number()); }

}  // namespace

void parallel(int64_t count, int threads, void (*body)(void*, int64_t), void* context) {
  if (count < threads) threads = int(count);
  if (threads <= 1) {
    for (int64_t k = 0; k < count; ++k) body(context, k);
    return;
  }
  Job job(count, threads, body, context);
  if (openmp().parallel) return openmp().parallel(work, &job, unsigned(threads), 0);
  pool()->run(job, threads);
}

const char* thread_source() { return openmp().parallel ? "torch's OpenMP" : "own pool"; }

void count_work(const Work& done) {
  pairs_met.fetch_add(done.pairs, std::memory_order_relaxed);
  exponentials_taken.fetch_add(done.exponentials, std::memory_order_relaxed);
}

Work work_so_far() { return {pairs_met.load(), exponentials_taken.load()}; }

void prefer_huge_pages(void* memory, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t PAGE = uintptr_t(1) << 21;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory) + PAGE - 1) / PAGE * PAGE;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + uintptr_t(bytes)) / PAGE * PAGE;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)memory;
  (void)bytes;
#endif
}

void* acquire(int64_t bytes, bool is_zeroed) {
  const size_t rounded = (size_t(bytes) + 127) / 64 * 64;
  void* memory = std::aligned_alloc(64, rounded);
  if (!memory) throw std::bad_alloc();
  if (is_zeroed) std::memset(memory, 0, rounded);
  return memory;
}

void release(void* memory) { std::free(memory); }

}  // namespace isotherm

// All kernels for one instruction set. Compiled several times; the build defines ISA, the namespace they go to.
#include "gradient.h"
#include "grid.h"
#include "grid_sweeps.h"
#include "listed_step.h"
#include "marginals.h"
#include "mean.h"
#include "plan.h"
#include "probe.h"
#include "softmin.h"
#include "step.h"
#include "sweeps.h"
#include "symmetric.h"

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

namespace isotherm {
namespace ISA {

template <class T>
constexpr Kernels<T> KERNELS = {
    softmin<T>, symmetric_softmin<T>, hard_min<T>, plan_apply<T>, plan_cost<T>, plan_marginals<T>, conditional_mean<T>,
    plan_grad<T>, product_sum<T>, sinkhorn_step<T>, listed_step<T>, axis_log_sum<T>, axis_max<T>, sinkhorn_sweeps<T>,
    grid_sweeps<T>, probe_fma<T>, probe_exp<T>,
};

extern const Table table = {TEXT(ISA), BYTES, KERNELS<float>, KERNELS<double>};

}  // namespace ISA
}  // namespace isotherm

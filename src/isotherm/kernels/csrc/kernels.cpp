// All kernels for one instruction set. Compiled several times; the build defines ISA, the namespace they go to.
#include "gradient.h"
#include "grid.h"
#include "mean.h"
#include "plan.h"
#include "probe.h"
#include "softmin.h"
#include "step.h"

#define TEXT_OF(name) #name
#define TEXT(name) TEXT_OF(name)

namespace isotherm {
namespace ISA {

extern const Table table = {
    TEXT(ISA),
    BYTES,
    {softmin<float>, hard_min<float>, plan_apply<float>, plan_cost<float>, conditional_mean<float>, plan_grad<float>,
     product_sum<float>, sinkhorn_step<float>, axis_log_sum<float>, axis_max<float>, probe_fma<float>, probe_exp<float>},
    {softmin<double>, hard_min<double>, plan_apply<double>, plan_cost<double>, conditional_mean<double>, plan_grad<double>,
     product_sum<double>, sinkhorn_step<double>, axis_log_sum<double>, axis_max<double>, probe_fma<double>, probe_exp<double>},
};

}  // namespace ISA
}  // namespace isotherm

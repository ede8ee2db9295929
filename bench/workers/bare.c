// A training step's bare arithmetic: the kernels of a plan, with its arguments, in a plain loop. No team, no barriers, no clock,
// no checks: what an executor can at best come to. Built by bare.py.

#include "plan.h"

void bare_steps(const hf_plan *plan, const uint8_t *skip, int64_t n_steps, int64_t batch, const int64_t *index,
                const double *scalars)
{
    volatile int status = HF_OK;
    hf_ctx ctx = {.scalars = scalars, .batch = batch, .index = index, .status = &status,
                  .scratch = plan->scratch, .scratch_bytes = plan->scratch_bytes};
    for (; ctx.step < n_steps; ctx.step++, ctx.first += batch)
        for (int64_t i = 0; i < plan->n_records; i++) {
            const hf_record *r = plan->records + i;
            if (!skip[i]) r->kernel(r->args, &ctx, 0, r->units);
        }
}

/* Cases of the update: norm and check of the gradient, the sweep over runs, with products, and over rows. A part of
 * test_kernels.c, whose case, roles and random numbers it uses. */
static int64_t parameter_count(void) {
  const int64_t chunks = chance(4) ? 1 + below(2) : 0;
  return chunks * HF_NORM_CHUNK + size_up_to(300);
}

static void make_grad_norm(test_case *c) {
  hf_grad_norm_args *p = &c->args.grad_norm;
  p->n = parameter_count();
  c->units = (p->n + HF_NORM_CHUNK - 1) / HF_NORM_CHUNK;
  ADD(hf_grad_norm_args, g, IN, p->n, -1, 1);
  ADD(hf_grad_norm_args, partial, OUT_DOUBLE, c->units, 0, 0);
}

/* The gradient of p(m, n) as x' w, in quarters so that its sums are exact. */
static void add_product(test_case *c, hf_matmul_args *m, size_t at) {
  const int wide = chance(20); /* the widest rows: blocks of a few */
  m->m = 1 + size_up_to(!wide && chance(8) ? 300 : 40);
  m->n = wide ? 20000 : size_up_to(chance(4) ? 300 : 70);
  m->k = size_up_to(wide ? 3 : 20);
  m->x_row = m->w_col = 1;
  m->x_col = m->m;
  m->w_row = m->n;
  c->units = m->m;
  const int first = c->n_buffers;
  add(c, at + offsetof(hf_matmul_args, x), IN, m->m * m->k, -1, 1);
  add(c, at + offsetof(hf_matmul_args, w), IN, m->k * m->n, -1, 1);
  for (int b = first; b < c->n_buffers; b++)
    for (int64_t i = 0; i < c->buffers[b].count; i++) c->buffers[b].start[i] = floor(4 * c->buffers[b].start[i]) / 4;
}

/* Slots of a rule: of the centred RMSprop those whose variance is far from 0, where a rounding would be all of it. */
static void add_slots(test_case *c, size_t at, int rule, int n_slots, int64_t n) {
  const int centred = rule == HF_RULE_rmsprop_centered;
  for (int s = 0; s < n_slots; s++)
    add(c, at + (size_t)s * sizeof(void *), INOUT, n, centred ? 0.4 : 0.01, centred ? 0.5 : 1);
}

/* Two sets of scalars of an update; clipping, decays, L1 and sums are each on in one of them. */
static void set_scalars(test_case *c) {
  static const double step[2][12] = {{-2, 1, 0, 0.5, 0, 0, 0.0625, 0.75, 0.875, 0.5, 1},
                                     {1, 1, 0.125, 0, 0.25, 0.5, 0.0625, 0.875, 0.5, 1, 0}};
  memcpy(c->scalars, step[0], sizeof step[0]);
  memcpy(c->scalars + 16, step[1], sizeof step[1]);
  c->scale = 4;
}

/* An update rule over a product, or over runs with sets of scalars of their own. */
static void make_sweep(test_case *c, int rule, int n_slots) {
  hf_sweep_args *p = &c->args.sweep;
  set_scalars(c);
  p->rule = rule;
  int64_t n;
  if (chance(2)) {
    add_product(c, &p->product, offsetof(hf_sweep_args, product));
    n = p->product.m * p->product.n;
    c->runs[0] = (hf_param_run){0, n, chance(2) ? 16 : 0, 0};
    p->n_runs = 1;
  } else {
    n = 0;
    for (p->n_runs = 0; p->n_runs < 1 + draw() % MAX_RUNS; p->n_runs++) {
      const int64_t length = parameter_count();
      n += below(3);
      c->runs[p->n_runs] = (hf_param_run){n, length, chance(2) ? 16 : 0, c->units};
      n += length;
      c->units += (length + HF_SWEEP_CHUNK - 1) / HF_SWEEP_CHUNK;
    }
    ADD(hf_sweep_args, g, IN, n, -1, 1);
  }
  p->runs = c->runs;
  ADD(hf_sweep_args, p, INOUT, n, -2, 2);
  ADD(hf_sweep_args, scale, IN, 1, 0.25, 1);
  add_slots(c, offsetof(hf_sweep_args, slot), rule, n_slots, n);
  if (chance(2)) ADD(hf_sweep_args, sums, OUT_DOUBLE, 3 * c->units, 0, 0);
  if (chance(3)) { /* in quarters: steps that are not rounded, all in one direction, in float32 */
    ADD(hf_sweep_args, trust, IN_DOUBLE, p->n_runs, 0.5, 1);
    double *trust = c->buffers[c->n_buffers - 1].start;
    for (int r = 0; r < p->n_runs; r++) trust[r] = floor(4 * trust[r]) / 4;
  }
  p->measure = chance(4);
  if (chance(3)) {
    ADD(hf_sweep_args, average, INOUT, n, -2, 2);
    p->average_column = 7; /* any two numbers */
  }
}

/* The rule over some rows of a table, in the order that order_rows gives them. */
static void make_sweep_rows(test_case *c, int rule, int n_slots) {
  hf_sweep_rows_args *p = &c->args.sweep_rows;
  set_scalars(c);
  p->rule = rule;
  p->column = chance(2) ? 16 : 0;
  c->units = p->rows = size_up_to(40);
  p->cols = size_up_to(130);
  const int64_t n = (2 * p->rows + 1) * p->cols;
  ADD(hf_sweep_rows_args, g, IN, p->rows * p->cols, -1, 1);
  ADD(hf_sweep_rows_args, scale, IN, 1, 0.25, 1);
  double *row = c->buffers[ADD(hf_sweep_rows_args, row, IN_INT, p->rows, 0, 1)].start;
  for (int64_t k = 0, at = 0; k < p->rows; k++) row[k] = chance(4) ? -1 : (double)(at += 1 + below(2));
  ADD(hf_sweep_rows_args, p, INOUT, n, -2, 2);
  add_slots(c, offsetof(hf_sweep_rows_args, slot), rule, n_slots, n);
}

#pragma once
// Everything that works element by element. Inputs may be channel slices; dtypes may differ (a cast
// is a copy): the arithmetic is f32 (f64 when any operand is f64) and rounds once, on storing.
#include "kernels/elementwise/kinds.h"
#include "runtime/op.h"

namespace tiller {

const char* name(UnaryKind kind);

struct UnaryArgs {
  UnaryKind kind = UnaryKind::copy;
  Tensor x;  // any shape
  Tensor y;  // same shape, out; may be x itself
  double a = 1, b = 0;
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

/// dx = dy * d silu(x)/dx.
struct SiluBwdArgs {
  Tensor x, dy;  // any shape
  Tensor dx;     // same shape, out
  Device device() const { return dx.device(); }
  DType dtype() const { return dx.dtype(); }
};

const char* name(BinaryKind kind);

struct BinaryArgs {
  BinaryKind kind = BinaryKind::add;
  Broadcast broadcast = Broadcast::none;
  Tensor a;  // [N,...,C]
  Tensor b;  // see Broadcast
  Tensor y;  // shape of a, out; may be a itself
  double alpha = 1, beta = 1;
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

/// y = mask > 0 ? a : b, per sample (mask [N]) or per element (mask of a's shape).
struct WhereArgs {
  Tensor mask;  // [N] or a's shape, any dtype
  Tensor a, b;  // [N,...,C]
  Tensor y;     // out
  Device device() const { return y.device(); }
  DType dtype() const { return y.dtype(); }
};

void check(const UnaryArgs& args);
void check(const SiluBwdArgs& args);
void check(const BinaryArgs& args);
void check(const WhereArgs& args);
Cost cost(const UnaryArgs& args);
Cost cost(const SiluBwdArgs& args);
Cost cost(const BinaryArgs& args);
Cost cost(const WhereArgs& args);
std::string describe(const UnaryArgs& args);
std::string describe(const SiluBwdArgs& args);
std::string describe(const BinaryArgs& args);
std::string describe(const WhereArgs& args);

extern const Op<UnaryArgs> unary;
extern const Op<SiluBwdArgs> silu_bwd;
extern const Op<BinaryArgs> binary;
extern const Op<WhereArgs> where_fwd;

}  // namespace tiller

#pragma once
// Everything that works element by element. Inputs may be channel slices; dtypes may differ (a cast
// is a copy): the arithmetic is f32 (f64 when any operand is f64) and rounds once, on storing.
#include "runtime/op.h"

namespace tiller {

/// y = f(x). a and b are the constants of affine (a x + b) and clamp (to [a, b]).
enum class UnaryKind : std::uint8_t {
  copy,
  affine,
  clamp,
  silu,
  exp,
  log,
  sqrt,
  rsqrt,
  square,
  abs,
  sign,
  tanh,
  sin,
  cos,
  reciprocal,
};
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

/// How the second operand of a binary operation meets the first, of shape [N, ..., C].
enum class Broadcast : std::uint8_t {
  none,                ///< equal shapes
  per_sample,          ///< b [N]: one value per entry of the first dimension
  per_channel,         ///< b [C]
  per_sample_channel,  ///< b [N,C]
};

/// y = alpha * a (op) beta * b.
enum class BinaryKind : std::uint8_t { add, mul, div, maximum, minimum };
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

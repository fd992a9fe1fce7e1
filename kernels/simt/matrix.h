#pragma once
// The tensor-core instructions of a warp: ldmatrix and mma.sync. Which lane holds which element is
// PTX's (PTX ISA, "Matrix Fragments for mma.m16n8k16 / m16n8k8", "ldmatrix"); tests hold these
// functions against tables typed from there.
#include <cstdint>

#include "kernels/simt/where.h"

namespace tiller::executor {

/// ldmatrix.sync.aligned.m8n8.x4(.trans).shared.b16: lane i gives the address of row i % 8 of
/// matrix i / 8; register m of each lane gets two elements of matrix m.
void ldmatrix_x4(std::uint32_t (&registers)[4], const void* row, bool transposed, Where where);

enum class MatrixType : std::uint8_t { f16, bf16, tf32 };

/// Row of A, column k of A or row k of B, column of B, ... that one lane's element has.
struct Element {
  int row, column;
};

/// Element i of a lane's fragment. f16 and bf16: A has 8, B 4; tf32: A has 4, B 2; C and D have 4.
Element fragment_a(MatrixType type, unsigned lane, int i);
Element fragment_b(MatrixType type, unsigned lane, int i);
Element fragment_c(unsigned lane, int i);

/// mma.sync.aligned.m16n8k16 (f16, bf16) or m16n8k8 (tf32), .row.col, f32 accumulators: d += a b.
/// Products are exact and sums are f32 in order of k; the hardware's order is not specified.
void mma(MatrixType type, float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
         Where where);

}  // namespace tiller::executor

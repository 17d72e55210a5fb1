// Vector quantization: all quantizers, codebooks and gradient estimators.
// docs/quantization.md says what each is good for.
#pragma once

#include <xgrad/nn/vq/diagonal_codebook.hpp>
#include <xgrad/nn/vq/ema_codebook.hpp>
#include <xgrad/nn/vq/fixed_codebook.hpp>
#include <xgrad/nn/vq/fsq.hpp>
#include <xgrad/nn/vq/kmeans.hpp>
#include <xgrad/nn/vq/lfq.hpp>
#include <xgrad/nn/vq/residual_vq.hpp>
#include <xgrad/nn/vq/sim_codebook.hpp>
#include <xgrad/nn/vq/vector_quantizer.hpp>

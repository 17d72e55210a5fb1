// Smooth top-k operators and what is made of them.
#pragma once

#include <xgrad/nn/topk/grad_topk.hpp>
#include <xgrad/nn/topk/iterated.hpp>
#include <xgrad/nn/topk/loss.hpp>
#include <xgrad/nn/topk/operator.hpp>
#include <xgrad/nn/topk/threshold.hpp>

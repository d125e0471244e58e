#ifndef CAFFE_UTIL_DNNL_HPP_
#define CAFFE_UTIL_DNNL_HPP_

#ifdef USE_DNNL

#include <dnnl.hpp>

#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "caffe/common.hpp"
#include "caffe/util/channel_layout.hpp"

/**
 * What the layers of the engine DNNL share: oneDNN's engine, scratch memory, changes of
 * layout, and calls of primitives whose layouts are oneDNN's own choice.
 */
namespace caffe {

/// Whether a layer made now, whose engine is DEFAULT, runs through oneDNN: on the CPU,
/// unless the environment says CAFFE_ENGINE=CAFFE. Any other value ends the process.
bool DnnlIsDefault();

/// Whether convolutions may be Winograd's where the network does not say:
/// CAFFE_DNNL_WINOGRAD=0 or 1, by default 1. Any other value ends the process.
bool DnnlWinograd();

/// The CPU.
const dnnl::engine& DnnlEngine();

/// Attributes with which a primitive takes its scratch memory from DnnlScratch.
dnnl::primitive_attr DnnlAttributes();

/// floats in row-major order.
dnnl::memory::desc DnnlPlain(const dnnl::memory::dims& dims);

/// Float memory that belongs to somebody else; oneDNN's inputs are not const either.
dnnl::memory DnnlMemory(const dnnl::memory::desc& desc, const float* data);

/// A blob's data or diff as it lies in memory; `plain` is how it lies in row-major order.
dnnl::memory DnnlRead(const BlobArray& array, const dnnl::memory::desc& plain);
/// The same to be overwritten, in the layout `wanted` if the array can be in that one.
dnnl::memory DnnlOverwrite(const BlobArray& array, const dnnl::memory::desc& plain,
                           const dnnl::memory::desc& wanted);

/// A primitive with the layouts it wants and the name of its implementation.
struct DnnlPrimitive {
  dnnl::primitive primitive;
  dnnl::memory::desc source, weights, destination, scratchpad;
  std::string implementation;
};

/**
 * @brief Memory that lives as long as the object; the next one on this thread gets the
 *    same memory. So all layers of a thread together take as much as the neediest.
 *
 * One object at a time on a thread.
 */
class DnnlScratch {
 public:
  DnnlScratch();
  ~DnnlScratch();

  /// Memory aligned to a cache line, with arbitrary contents.
  void* Take(size_t bytes);
  dnnl::memory Take(const dnnl::memory::desc& desc);

 private:
  DISABLE_COPY_AND_ASSIGN(DnnlScratch);
};

/// Copies from layout to layout, each made once.
class DnnlReorders {
 public:
  /// Writes from's values to `to`, or adds them to what is there.
  void Run(const dnnl::memory& from, const dnnl::memory& to, bool add,
           DnnlScratch* scratch);

 private:
  struct Reorder {
    dnnl::memory::desc from, to, scratchpad;
    bool add;
    dnnl::reorder primitive;
  };
  std::list<Reorder> reorders_;
};

/**
 * @brief One forward or backward pass of a layer: runs primitives on memory of any
 *    layout, converting it where the primitive wants another one.
 *
 * An input that two primitives want in the same layout is converted once.
 */
class DnnlCall {
 public:
  explicit DnnlCall(DnnlReorders* reorders) : reorders_(reorders) {}

  /// An argument of a primitive (DNNL_ARG_...), as it lies in memory, and the layout
  /// that the primitive wants.
  struct Input {
    int argument;
    dnnl::memory memory;
    const dnnl::memory::desc& wanted;
  };
  struct Output {
    int argument;
    dnnl::memory memory;
    const dnnl::memory::desc& wanted;
    bool add;  ///< to what is there
  };

  void Run(const DnnlPrimitive& primitive, const vector<Input>& inputs,
           const vector<Output>& outputs);

  DnnlScratch* scratch() { return &scratch_; }

 private:
  dnnl::memory Converted(const dnnl::memory& memory, const dnnl::memory::desc& wanted);

  DnnlReorders* reorders_;
  DnnlScratch scratch_;
  vector<std::pair<dnnl::memory, dnnl::memory> > converted_;

  DISABLE_COPY_AND_ASSIGN(DnnlCall);
};

}  // namespace caffe

#endif  // USE_DNNL

#endif  // CAFFE_UTIL_DNNL_HPP_

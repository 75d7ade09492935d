# MNIST and FashionMNIST, where MLDatasets.jl is in the core's own environment.
module FedFluxMLDatasetsExt

using FedFlux: FedFlux, Dataset
using MLDatasets: MLDatasets

include("read_mldatasets.jl")

FedFlux.mldataset(::Val{name}, dir) where {name} =
    Dataset(ReadMLDatasets.read_arrays(string(name), dir)...; name = string(name))

end

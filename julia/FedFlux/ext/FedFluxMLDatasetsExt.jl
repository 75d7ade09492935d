# Data sets by MLDatasets.jl, where it is in the core's own environment.
module FedFluxMLDatasetsExt

using FedFlux: FedFlux, Dataset
using MLDatasets: MLDatasets

include("read_mldatasets.jl")

FedFlux.mldataset(::Val{name}, part, dir) where {name} =
    Dataset(ReadMLDatasets.read_arrays(string(name), part, dir)...; name = string(name))

end

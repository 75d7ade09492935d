# MNIST and FashionMNIST through MLDatasets.jl, their download accepted without a prompt.
module FedFluxMLDatasetsExt

using FedFlux: FedFlux, Dataset
using MLDatasets: MNIST, FashionMNIST

function load(T, name, dir)
    dir = dir === nothing ? nothing : abspath(expanduser(dir))
    # If a download fails, DataDeps removes the whole folder, and this one is the user's.
    keep = dir === nothing ? () : ("DATADEPS_DISABLE_ERROR_CLEANUP" => "true",)
    train, test = withenv("DATADEPS_ALWAYS_ACCEPT" => "true", keep...) do
        T(; Tx = Float32, split = :train, dir), T(; Tx = Float32, split = :test, dir)
    end
    return Dataset(train.features, train.targets, test.features, test.targets; name)
end

FedFlux.mldataset(::Val{:mnist}, dir) = load(MNIST, "mnist", dir)
FedFlux.mldataset(::Val{:fashionmnist}, dir) = load(FashionMNIST, "fashionmnist", dir)

end

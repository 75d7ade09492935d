# Files that are whole or not there, even after a power cut.

"""
    write_durably(path, bytes)

Write `bytes` to the file `path`, which holds either its old content or all of the new one
at any moment: written beside it, forced to the disk, renamed, and the folder forced to the
disk too. Throws a `SystemError` or an `IOError` if that fails, such as on a full disk;
nothing is then left behind.
"""
function write_durably(path, bytes::AbstractVector{UInt8})
    part = joinpath(dirname(path), string(".", basename(path), PART))
    try
        open(part, "w") do io
            write(io, bytes) == length(bytes) || throw(SystemError("write to $part"))
            flush(io)
            sync(fd(io), part)
        end
        # Base.rename copies if renaming fails, and a copy can be cut short.
        err = ccall(:jl_fs_rename, Int32, (Cstring, Cstring), part, path)
        err < 0 && throw(Base._UVError("rename", err))
        sync_folder(dirname(path))
    catch
        rm_quietly(part)
        rethrow()
    end
end

const PART = ".part"     # the ending of a file that is being written

function sync(descriptor, name)
    failed = ccall(Sys.iswindows() ? :_commit : :fsync, Cint, (RawFD,), RawFD(descriptor))
    return systemerror("fsync of $name", failed != 0)
end

function sync_folder(folder)
    Sys.iswindows() && return     # has no such call; NTFS keeps a journal of names
    file = Base.Filesystem.open(folder, Base.Filesystem.JL_O_RDONLY)
    try
        sync(Base.cconvert(Cint, fd(file)), folder)
    finally
        close(file)
    end
end

"Remove a file; if that can't be, it stays."
rm_quietly(path) =
    try
        rm(path; force = true)
    catch err
        err isa Union{Base.IOError,SystemError} || rethrow()
    end

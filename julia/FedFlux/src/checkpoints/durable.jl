# Files that are whole or not there, even after a power cut.

"""
    write_durably(path, bytes; private = false, forced = true)

Write `bytes` to the file `path`, which holds either its old content or all of the new one
at any moment. The bytes are written beside it, forced to the disk, and renamed. Then the
folder is forced to the disk. If not `forced`, the caller does that later for several files
([`force_file`](@ref), [`force_folder`](@ref)), and only a power cut shows the difference. A
`private` file is the user's alone from the beginning. Throws a `SystemError` or an
`IOError` if that fails, such as on a full disk; nothing is then left behind.
"""
function write_durably(path, bytes::AbstractVector{UInt8}; private = false, forced = true)
    part = joinpath(dirname(path), string(".", basename(path), PART))
    try
        ispath(part) && rm_quietly(part)        # an exception takes 10 ms
        make_file(part, private)
        open(part, "r+") do io
            write(io, bytes) == length(bytes) || throw(SystemError("write to $part"))
            flush(io)
            forced && sync(fd(io), part)
        end
        # Base.rename copies if renaming fails, and a copy can be cut short.
        err = ccall(:jl_fs_rename, Int32, (Cstring, Cstring), part, path)
        err < 0 && throw(Base._UVError("rename", err))
        forced && force_folder(dirname(abspath(path)))
    catch
        rm_quietly(part)
        rethrow()
    end
end

"Make an empty file; a `private` one nobody else may read, not for a moment either."
function make_file(path, private)
    FS = Base.Filesystem
    flags = FS.JL_O_WRONLY | FS.JL_O_CREAT | FS.JL_O_EXCL
    return close(FS.open(path, flags, private ? 0o600 : 0o666))
end

const PART = ".part"     # the ending of a file that is being written

function sync(descriptor, name)
    failed = ccall(Sys.iswindows() ? :_commit : :fsync, Cint, (RawFD,), RawFD(descriptor))
    return systemerror("fsync of $name", failed != 0)
end

"Force what a file holds to the disk."
force_file(path) = open(io -> sync(fd(io), path), path, "r+")

"Force the names of a folder's files to the disk."
function force_folder(folder)
    Sys.iswindows() && return     # has no such call; NTFS keeps a journal of names
    file = Base.Filesystem.open(folder, Base.Filesystem.JL_O_RDONLY)
    try
        sync(Base.cconvert(Cint, fd(file)), folder)
    finally
        close(file)
    end
end

"""
Make a folder the user's alone, unless it holds something besides checkpoints, such as a
project that others work in: its private files are then the user's alone all the same.
"""
function close_folder(folder, own)
    all(own, readdir(folder)) || return
    try
        chmod(folder, 0o700)
    catch err
        err isa Base.IOError || rethrow()       # another user's
    end
end

"Remove a file; if that can't be, it stays."
rm_quietly(path) =
    try
        rm(path; force = true)
    catch err
        err isa Union{Base.IOError,SystemError} || rethrow()
    end

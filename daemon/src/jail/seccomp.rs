//! Owns: the system calls a Jail may make.
//! Guarantees: an allow-list: a call that nobody reviewed does not exist (ENOSYS); what programs try and must not get is
//! EPERM; foreign address families are EAFNOSUPPORT; another architecture's calls kill.
//!
//! Three filters stack, since each knows one answer besides "allow"; of several answers the kernel takes the strictest, and of
//! several errors the newest filter's.

use std::sync::OnceLock;

use seccompiler::{BpfProgram, TargetArch, compile_from_json};
use serde_json::{Value, json};

/// Calls every architecture has.
const ALLOWED: &str = "accept accept4 bind brk cachestat capget capset chdir chroot clock_adjtime clock_getres clock_gettime \
clock_nanosleep clone close close_range connect copy_file_range dup dup3 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 \
eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchown fchownat fcntl \
fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync ftruncate futex futex_waitv futex_wake \
futex_wait futex_requeue get_robust_list getcpu getcwd getdents64 getegid geteuid getgid getgroups getitimer getpeername \
getpgid getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname getsockopt gettid \
gettimeofday getuid getxattr inotify_add_watch inotify_init1 inotify_rm_watch ioctl ioprio_get ioprio_set kill \
landlock_add_rule landlock_create_ruleset landlock_restrict_self lgetxattr linkat listen listxattr llistxattr lremovexattr \
lseek lsetxattr madvise map_shadow_stack membarrier memfd_create mincore mkdirat mknodat mlock mlock2 mlockall mprotect mq_getsetattr \
mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap \
mmap nanosleep newfstatat openat personality pidfd_open pidfd_send_signal pipe2 pkey_alloc pkey_free pkey_mprotect ppoll prctl pread64 \
preadv preadv2 prlimit64 process_madvise process_mrelease process_vm_readv process_vm_writev pselect6 ptrace pwrite64 pwritev \
pwritev2 read readahead readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr renameat renameat2 \
restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam \
sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp \
semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto set_robust_list set_tid_address setfsgid setfsuid setgid \
setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit setsid setsockopt setuid setxattr \
shmat shmctl shmdt shmget shutdown sigaltstack socket socketpair splice statfs statx symlinkat sync sync_file_range syncfs \
sysinfo tee tgkill timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime \
timerfd_settime times tkill truncate umask uname unlinkat unshare utimensat vmsplice wait4 waitid write writev \
bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register open_by_handle_at name_to_handle_at keyctl \
add_key request_key mount umount2 pivot_root setns move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr \
init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct settimeofday clock_settime \
adjtimex syslog quotactl vhangup kcmp lookup_dcookie";

/// Old calls that x86_64 kept.
const ALLOWED_X86: &str = "access alarm arch_prctl chmod chown creat dup2 epoll_create epoll_wait eventfd fork futimesat \
getdents getpgrp inotify_init lchown link lstat mkdir mknod modify_ldt open pause pipe poll readlink rename rmdir select \
signalfd signalfd4 stat symlink time unlink ustat utime utimes vfork iopl ioperm";
/// Calls whose names differ.
const ALLOWED_ARM: &str = "signalfd4";

/// Refused with EPERM: programs probe for these and take that answer.
const DENIED: &str = "bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register open_by_handle_at \
name_to_handle_at keyctl add_key request_key mount umount2 pivot_root chroot setns move_mount open_tree fsopen fsconfig fsmount fspick \
mount_setattr init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct settimeofday \
clock_settime clock_adjtime adjtimex syslog quotactl vhangup kcmp lookup_dcookie";
const DENIED_X86: &str = "iopl ioperm modify_ldt";

const ENOSYS: u32 = 38;
const EPERM: u32 = 1;
const EAFNOSUPPORT: u32 = 97;

/// The filters, in the order they must be installed, as the kernel's bytes.
///
/// # Errors
/// A sentence, when this architecture has no table.
pub fn filters() -> Result<&'static [Vec<u8>], String> {
    static FILTERS: OnceLock<Result<Vec<Vec<u8>>, String>> = OnceLock::new();
    FILTERS
        .get_or_init(|| {
            let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
            build(arch)
        })
        .as_deref()
        .map_err(Clone::clone)
}

fn build(arch: TargetArch) -> Result<Vec<Vec<u8>>, String> {
    let x86 = arch == TargetArch::x86_64;
    let plain = |names: &str| {
        names
            .split_whitespace()
            .map(|n| json!({ "syscall": n }))
            .collect::<Vec<_>>()
    };
    let mut allowed = plain(ALLOWED);
    allowed.extend(plain(if x86 { ALLOWED_X86 } else { ALLOWED_ARM }));
    let mut denied = plain(DENIED);
    if x86 {
        denied.extend(plain(DENIED_X86));
    }
    denied.extend(denied_by_argument(x86));
    let list = json!({ "mismatch_action": { "errno": ENOSYS }, "match_action": "allow", "filter": allowed });
    let deny = json!({ "mismatch_action": "allow", "match_action": { "errno": EPERM }, "filter": denied });
    let families = json!({ "mismatch_action": "allow", "match_action": { "errno": EAFNOSUPPORT }, "filter": foreign_families() });
    [list, deny, families]
        .iter()
        .map(|filter| compile(filter, arch))
        .collect()
}

fn arg(index: u8, op: Value, val: u64) -> Value {
    json!({ "index": index, "type": "dword", "op": op, "val": val })
}

fn has_bits(index: u8, bits: u64) -> Value {
    arg(index, json!({ "masked_eq": bits }), bits)
}

fn denied_by_argument(x86: bool) -> Vec<Value> {
    let rule = |name: &str, args: &[Value]| json!({ "syscall": name, "args": args });
    let mut rules = Vec::new();
    // Typing into somebody's terminal; the console's selection.
    for request in [0x5412_u64, 0x541C] {
        rules.push(rule("ioctl", &[arg(1, json!("eq"), request)]));
    }
    // New namespaces: time, mount, cgroup, uts, ipc, user, pid, net.
    for flag in [
        0x80_u64,
        0x2_0000,
        0x200_0000,
        0x400_0000,
        0x800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
    ] {
        // In clone the low byte is the exit signal.
        if flag != 0x80 {
            rules.push(rule("clone", &[has_bits(0, flag)]));
        }
        rules.push(rule("unshare", &[has_bits(0, flag)]));
    }
    // Setuid, setgid: such a file in the Workspace would be live outside.
    let mut mode_at = vec![("fchmod", 1), ("fchmodat", 2), ("mkdirat", 2), ("mknodat", 2)];
    if x86 {
        mode_at.extend([("chmod", 1), ("creat", 1), ("mkdir", 1), ("mknod", 1)]);
    }
    let mut open_at = vec![("openat", 2, 3)];
    if x86 {
        open_at.push(("open", 1, 2));
    }
    for bit in [0o4000_u64, 0o2000] {
        rules.extend(
            mode_at
                .iter()
                .map(|(name, index)| rule(name, &[has_bits(*index, bit)])),
        );
        for (name, flags, mode) in &open_at {
            // The mode counts only with O_CREAT or O_TMPFILE: without them it is whatever was in the register.
            for create in [0o100_u64, 0o20_000_000] {
                rules.push(rule(name, &[has_bits(*flags, create), has_bits(*mode, bit)]));
            }
        }
    }
    // Device nodes.
    for (name, index) in [("mknodat", 2)].into_iter().chain(x86.then_some(("mknod", 1))) {
        for kind in [0o020_000_u64, 0o060_000] {
            rules.push(rule(name, &[arg(index, json!({ "masked_eq": 0o170_000 }), kind)]));
        }
    }
    // ADDR_NO_RANDOMIZE and other weakenings. The plain personalities and "tell me" stay.
    let persona = [0_u64, 8, 0x2_0000, 0x2_0008, 0xffff_ffff].map(|v| arg(0, json!("ne"), v));
    rules.push(rule("personality", &persona));
    rules
}

fn foreign_families() -> Vec<Value> {
    // AF_UNIX, AF_INET, AF_INET6, AF_NETLINK.
    let none_of: Vec<Value> = [1, 2, 10, 16]
        .into_iter()
        .map(|v| arg(0, json!("ne"), v))
        .collect();
    vec![
        json!({ "syscall": "socket", "args": none_of }),
        // Of netlink only NETLINK_ROUTE (of the Jail's own network): programs list their interfaces with it.
        json!({ "syscall": "socket", "args": [arg(0, json!("eq"), 16), arg(2, json!("ne"), 0)] }),
        json!({ "syscall": "socketpair", "args": [arg(0, json!("ne"), 1)] }),
    ]
}

fn compile(filter: &Value, arch: TargetArch) -> Result<Vec<u8>, String> {
    let text = json!({ "jail": filter }).to_string();
    let mut programs = compile_from_json(text.as_bytes(), arch).map_err(|e| e.to_string())?;
    let program: BpfProgram = programs.remove("jail").ok_or("no program came out")?;
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for step in program {
        bytes.extend_from_slice(&step.code.to_ne_bytes());
        bytes.extend_from_slice(&[step.jt, step.jf]);
        bytes.extend_from_slice(&step.k.to_ne_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_architectures_have_every_name() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            let built = build(arch).unwrap();
            assert_eq!(built.len(), 3);
            // The kernel takes at most 4096 steps of 8 bytes.
            assert!(built.iter().all(|b| b.len() <= 4096 * 8 && b.len() % 8 == 0));
        }
    }

    #[test]
    fn unreviewed_calls_are_not_listed() {
        for name in ["clone3", "openat2", "fchmodat2", "uselib", "memfd_secret"] {
            assert!(
                !ALLOWED
                    .split_whitespace()
                    .chain(ALLOWED_X86.split_whitespace())
                    .any(|n| n == name),
                "{name}"
            );
        }
    }
}

"""What makes users while configuring: a name that has a number in the lock gets it, and all else is as it always is.

A script may run useradd without a look at whether the name is there, so no name can be made before it. adduser has
numbers from its pools, but for those that a script gives it.
"""

from __future__ import annotations

from builder.model.plan import StateLayerPlan

TOOLS = tuple(f"usr/sbin/{name}" for name in ("useradd", "groupadd", "adduser", "addgroup"))
FOLDER = "var/lib/imgbuild-accounts"
"""Where the tools themselves lie, and the numbers."""
NUMBERS = f"{FOLDER}/numbers"

_FIND = f"""\
#!/bin/sh
folder=/{FOLDER}
words=$(getopt --quiet $style --options "$short" --longoptions "$long" -- "$@") || exec "$folder/$tool" "$@"
name=$(eval "set -- $words"; while [ "$1" != -- ]; do shift; done; printf %s "$2")
user= uid= gid= group=
while read -r kind one number primary; do
    case "$kind $one" in
    "user $name") user=$one uid=$number gid=$primary ;;
    "group $name") group=$number ;;
    esac
done < /{NUMBERS}
"""
_GROUPADD = """
[ "$group" ] || exec "$folder/$tool" "$@"
eval "set -- $words"
last=
for word; do
    shift
    case $last in -g | --gid) word=$group ;; esac
    [ "$word" = -- ] && set -- "$@" --gid "$group"
    set -- "$@" "$word"
    last=$word
done
exec "$folder/$tool" "$@"
"""
_USERADD = """
[ "$user" ] || exec "$folder/$tool" "$@"
eval "set -- $words"
last= own= system=
grep -q "^[[:space:]]*USERGROUPS_ENAB[[:space:]]*yes" /etc/login.defs && own=$group
for word; do
    shift
    case $last in
    -u | --uid) word=$uid ;;
    -g | --gid)
        own=
        # A number that a script gave to a group of its own is another one now.
        case $word in *[!0-9]*) ;; *) grep -q "^[^:]*:[^:]*:$word:" /etc/group || word=$gid ;; esac
        ;;
    *)
        case $word in
        -U | --user-group) own=$group ;;
        -N | --no-user-group) own= ;;
        -r | --system) system=--system ;;
        esac
        ;;
    esac
    last=$word
    [ "$word" = -- ] && set -- "$@" --uid "$uid"
    set -- "$@" "$word"
done
[ "$own" ] || exec "$folder/$tool" "$@"
# Its group would get the user's number.
"$folder/groupadd" $system --gid "$own" "$user" || exit
for word; do
    shift
    case $word in
    -U | --user-group) ;;
    --) set -- "$@" --gid "$own" -- ;;
    *) set -- "$@" "$word" ;;
    esac
done
exec "$folder/$tool" "$@"
"""
_ADDUSER = """
[ "$user$group" ] || exec "$folder/$tool" "$@"
new= there=
case $tool-$words in
addgroup-*) new=$group ;;
*" --system "*) grep -q "^$name:" /etc/group && there=$name ;;
*" --group "*) new=$group ;;
esac
eval "set -- $words"
last=
for word; do
    shift
    case $last in
    --uid) word=${uid:-$word} ;;
    --gid)
        if [ "$new" ]; then word=$new
        else grep -q "^[^:]*:[^:]*:$word:" /etc/group || word=${gid:-$word}
        fi
        ;;
    esac
    if [ "$there" ] && [ "$word" = --group ]; then
        # Of a group that is there already adduser takes the name, but for the home folder a number of its own choice.
        set -- "$@" --ingroup
        word=$there
    fi
    set -- "$@" "$word"
    last=$word
done
exec "$folder/$tool" "$@"
"""
_PROGRAMS = {"useradd": _USERADD, "groupadd": _GROUPADD, "adduser": _ADDUSER, "addgroup": _ADDUSER}
_ADDUSER_OPTIONS = (
    "c:hqv",
    "add-extra-groups,add_extra_groups,allow-all-names,allow-badname,allow-bad-names,comment:,conf:,debug,disabled-login,"
    "disabled-password,encrypt-home,firstgid:,firstuid:,force-badname,gecos:,gid:,group,help,home:,ingroup:,lastgid:,"
    "lastuid:,no-create-home,quiet,shell:,stdoutmsglevel:,stderrmsglevel:,logmsglevel:,system,uid:,verbose,version",
)
_OPTIONS = {
    "adduser": _ADDUSER_OPTIONS,
    "addgroup": _ADDUSER_OPTIONS,
    "useradd": (
        "b:c:d:De:f:Fg:G:hk:K:lmMNop:rR:P:s:u:UZ:",
        "badname,badnames,base-dir:,btrfs-subvolume-home,comment:,home-dir:,defaults,expiredate:,inactive:,"
        "add-subids-for-system,gid:,groups:,help,skel:,key:,no-log-init,create-home,no-create-home,no-user-group,"
        "non-unique,password:,system,root:,prefix:,shell:,uid:,user-group,selinux-user:,selinux-range:",
    ),
    "groupadd": ("fg:hK:op:rR:P:U:", "force,gid:,help,key:,non-unique,password:,system,root:,prefix:,users:"),
}


def script(tool: str) -> str:
    """The program that stands in the place of a tool."""
    short, long = _OPTIONS[tool]
    # Perl's way takes -uid as well.
    style = "--alternative" if _PROGRAMS[tool] is _ADDUSER else ""
    interpreter, rest = _FIND.split("\n", 1)
    return f"{interpreter}\ntool={tool} style={style} short={short} long={long}\n{rest}{_PROGRAMS[tool]}"


def numbers(plan: StateLayerPlan) -> str:
    """What these programs read."""
    users = (f"user {user.name} {user.uid} {user.gid}\n" for user in plan.users)
    groups = (f"group {group.name} {group.gid}\n" for group in plan.groups)
    return "".join((*users, *groups))

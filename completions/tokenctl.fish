# Completion of tokenctl for fish.
# Made from the program's grammar: do not edit. It starts no program, and data is never evaluated.

function __tokenctl_node --no-scope-shadowing
    switch "$argv[1]"
        case ''
            set verbs issue inspect list revoke rotate-keys audit login logout whoami profile store doctor completion
            set verbs_told
            set -a verbs_told 'issue'\t'Make a token and print it, once'
            set -a verbs_told 'inspect'\t'Say whether a token is accepted, and why not'
            set -a verbs_told 'list'\t'List tokens, the first to expire first'
            set -a verbs_told 'revoke'\t'Deny tokens for good or for a time; tell what became of each'
            set -a verbs_told 'rotate-keys'\t'Take every due step of the signing keys'
            set -a verbs_told 'audit'\t'Show and check the record of everything that happened'
            set -a verbs_told 'login'\t'Keep the credential of a remote profile in the keyring'
            set -a verbs_told 'logout'\t'Forget the credential of a remote profile'
            set -a verbs_told 'whoami'\t'Say who you are to the log and to the service'
            set -a verbs_told 'profile'\t'Choose where tokenctl works'
            set -a verbs_told 'store'\t'Look after the local store'
            set -a verbs_told 'doctor'\t'Look for what is wrong, and name what mends it'
            set -a verbs_told 'completion'\t'Print the completion script of a shell'
            set flags_told
            set -a flags_told '-V'\t'Print the version'
            set -a flags_told '--version'\t'Print the version'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'issue'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--subject'\t'Whom the token stands for'
            set -a flags_told '--scope'\t'What it may do; once for each'
            set -a flags_told '--audience'\t'Which service accepts it'
            set -a flags_told '--ttl'\t'How long it lives: 15m, 12h, 30d'
            set -a flags_told '--format'\t'opaque (default) or jwt'
            set -a flags_told '--algorithm'\t'ES256, EdDSA, PS256 or RS256'
            set -a flags_told '--kind'\t'access (default), personal or service'
            set -a flags_told '--owner'\t'Who answers for it; default you'
            set -a flags_told '--label'\t'A mark to select it by'
            set -a flags_told '--claim'\t'A claim of a JWT; never stored'
            set -a flags_told '--not-before'\t'Not accepted before'
            set -a flags_told '--max-uses'\t'Spent after N uses, children\'s too'
            set -a flags_told '--parent'\t'It dies with this token'
            set -a flags_told '--note'\t'What it is for'
            set -a flags_told '--request-id'\t'Makes a rerun safe'
            set -a flags_told '--accept-less'\t'Take less scope, if a service grants less'
            set -a flags_told '--exchange'\t'A job\'s identity that a service gives it for'
            set -a flags_told '--exchange-fd'\t'Read that from a descriptor'
            set -a flags_told '--out'\t'Write the token there, 0600'
            set -a flags_told '--mode'\t'Mode of that file'
            set -a flags_told '--group'\t'Group of that file'
            set -a flags_told '--fd'\t'Write the token to a descriptor'
            set -a flags_told '--count'\t'Make so many, as JSON lines'
            set -a flags_told '--from'\t'Make one for each line of JSON'
            set -a flags_told '--replace'\t'Give the rights of this token anew'
            set -a flags_told '--grace'\t'How long that one goes on; default 24h'
            set -a flags_told '--env'\t'CMD\'s variable, not TOKENCTL_TOKEN'
            set -a flags_told '--child-fd'\t'CMD reads it from there'
            set -a flags_told '--no-mask'\t'CMD\'s output is not looked at'
            set -a flags_told '-n'\t'Say what would be issued, and which rule decides'
            set -a flags_told '--dry-run'\t'Say what would be issued, and which rule decides'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --subject --scope --audience --ttl --format --algorithm --kind --owner --label --claim --not-before --max-uses --parent --note --request-id --exchange --exchange-fd --out --mode --group --fd --count --from --replace --grace --env --child-fd -p --profile -o --output --timeout --credential-file --credential-fd
        case 'inspect'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--file'\t'Read tokens from a file'
            set -a flags_told '--fd'\t'Read tokens from a descriptor'
            set -a flags_told '--use'\t'Accept the token: check, count and spend one use'
            set -a flags_told '--offline'\t'Form, checksum, signature and time only'
            set -a flags_told '--valid-for'\t'It must last this long'
            set -a flags_told '--jwks'\t'Keys of a JWT\'s issuer'
            set -a flags_told '--issuer'\t'The issuer it must be from'
            set -a flags_told '--audience'\t'Who you are to the token'
            set -a flags_told '--any-audience'\t'Whoever it is for'
            set -a flags_told '--scope'\t'What it must grant'
            set -a flags_told '--leeway'\t'Clock skew allowed, at most 5m'
            set -a flags_told '--ignore-binding'\t'Accept it without proof of its key'
            set -a flags_told '--ask'\t'Send it to this profile\'s service, whatever it is'
            set -a flags_told '--all-profiles'\t'Ask whichever profile it belongs to'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json, jsonl or introspection'
            set -a flags_told '--output'\t'text, json, jsonl or introspection'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --file --fd --valid-for --jwks --issuer --audience --scope --leeway --ask -p --profile -o --output --timeout --credential-file --credential-fd
        case 'list'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--limit'\t'At most so many'
            set -a flags_told '--after'\t'Go on behind this one'
            set -a flags_told '--subject'\t'By subject; * is any text'
            set -a flags_told '--owner'\t'By owner; * is any text'
            set -a flags_told '--scope'\t'By scope'
            set -a flags_told '--audience'\t'By audience; * is any text'
            set -a flags_told '--kind'\t'access, personal or service'
            set -a flags_told '--format'\t'opaque or jwt'
            set -a flags_told '--kid'\t'By signing key'
            set -a flags_told '--label'\t'By label; * is any text'
            set -a flags_told '--parent'\t'Children of a token'
            set -a flags_told '--batch'\t'By request id'
            set -a flags_told '--issued-after'\t'Issued at or after'
            set -a flags_told '--issued-before'\t'Issued before'
            set -a flags_told '--expires-after'\t'Expires at or after'
            set -a flags_told '--expires-before'\t'Expires before'
            set -a flags_told '--unused-for'\t'Not used for so long'
            set -a flags_told '--never-used'\t'Never used'
            set -a flags_told '--include-untracked'\t'With tokens whose use is not seen here'
            set -a flags_told '--state'\t'By state, or all; default the living ones'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --limit --after --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --state -p --profile -o --output --timeout --credential-file --credential-fd
        case 'revoke'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--from'\t'Read what leaked from a file'
            set -a flags_told '--reason'\t'compromised, superseded, unused, owner_left, policy, undelivered, test or other'
            set -a flags_told '--note'\t'What happened'
            set -a flags_told '--ticket'\t'Where it is followed up'
            set -a flags_told '--keep-children'\t'Leave the children alone'
            set -a flags_told '--suspend'\t'Deny until lifted, or for a time'
            set -a flags_told '--for'\t'Suspend so long; needs --then'
            set -a flags_told '--then'\t'What comes after --for: lift or revoke'
            set -a flags_told '--lift'\t'End a suspension'
            set -a flags_told '-n'\t'Say what would be done'
            set -a flags_told '--dry-run'\t'Say what would be done'
            set -a flags_told '--out'\t'With --dry-run: write a plan'
            set -a flags_told '--plan'\t'Carry out a plan, within 1h'
            set -a flags_told '--expect'\t'Do it only if it changes N tokens'
            set -a flags_told '-y'\t'Do not ask'
            set -a flags_told '--yes'\t'Do not ask'
            set -a flags_told '--ignore-not-found'\t'An unknown id is no failure'
            set -a flags_told '--wait'\t'Ask a service so long until it denies'
            set -a flags_told '--including-self'\t'Your own credential too'
            set -a flags_told '--ask'\t'Send tokens to this profile\'s service, whatever they are'
            set -a flags_told '--all-profiles'\t'Ask whichever profile each belongs to'
            set -a flags_told '--subject'\t'By subject; * is any text'
            set -a flags_told '--owner'\t'By owner; * is any text'
            set -a flags_told '--scope'\t'By scope'
            set -a flags_told '--audience'\t'By audience; * is any text'
            set -a flags_told '--kind'\t'access, personal or service'
            set -a flags_told '--format'\t'opaque or jwt'
            set -a flags_told '--kid'\t'By signing key'
            set -a flags_told '--label'\t'By label; * is any text'
            set -a flags_told '--parent'\t'Children of a token'
            set -a flags_told '--batch'\t'By request id'
            set -a flags_told '--issued-after'\t'Issued at or after'
            set -a flags_told '--issued-before'\t'Issued before'
            set -a flags_told '--expires-after'\t'Expires at or after'
            set -a flags_told '--expires-before'\t'Expires before'
            set -a flags_told '--unused-for'\t'Not used for so long'
            set -a flags_told '--never-used'\t'Never used'
            set -a flags_told '--include-untracked'\t'With tokens whose use is not seen here'
            set -a flags_told '--state'\t'By state, or all; default the living ones'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --from --reason --note --ticket --for --then --out --plan --expect --wait --ask --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --state -p --profile -o --output --timeout --credential-file --credential-fd
        case 'rotate-keys'
            set verbs status jwks rollback retire
            set verbs_told
            set -a verbs_told 'status'\t'List the signing keys, their states and what comes next'
            set -a verbs_told 'jwks'\t'Print the public keys as a JWK Set'
            set -a verbs_told 'rollback'\t'Let the key sign again that stopped last'
            set -a verbs_told 'retire'\t'Destroy a key that no token needs any more'
            set flags_told
            set -a flags_told '--algorithm'\t'This one alone; publish a first key where it has none'
            set -a flags_told '--if-older-than'\t'Follow active keys older than this, not the policy\'s age; 0s: now'
            set -a flags_told '--check'\t'Change nothing; exit 3 when a step is due'
            set -a flags_told '-n'\t'Say which steps would be taken'
            set -a flags_told '--dry-run'\t'Say which steps would be taken'
            set -a flags_told '--verifier'\t'Ask there which keys a verifier has'
            set -a flags_told '--unobserved'\t'Let a key sign without asking any verifier'
            set -a flags_told '--compromised'\t'Deny this key and all that it signed, now'
            set -a flags_told '--root'\t'Replace the root secret, and all that is derived from it'
            set -a flags_told '--log-key'\t'Replace the key that signs the heads of the log'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --algorithm --if-older-than --verifier --compromised -p --profile -o --output --timeout --credential-file --credential-fd
        case 'rotate-keys status'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--verifier'\t'Ask there which keys a verifier has'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --verifier -p --profile -o --output --timeout --credential-file --credential-fd
        case 'rotate-keys jwks'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--out'\t'Write it there, 0644, whole; - is stdout'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --out -p --profile -o --output --timeout --credential-file --credential-fd
        case 'rotate-keys rollback'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--algorithm'\t'This algorithm alone'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --algorithm -p --profile -o --output --timeout --credential-file --credential-fd
        case 'rotate-keys retire'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'audit'
            set verbs log show verify checkpoint review reconcile archive
            set verbs_told
            set -a verbs_told 'log'\t'List the records, oldest first'
            set -a verbs_told 'show'\t'Tell the life of one token or key, one record, or prove one'
            set -a verbs_told 'verify'\t'Check the whole log, and every row against it; or a proof'
            set -a verbs_told 'checkpoint'\t'Sign the head of the log, for others to keep'
            set -a verbs_told 'review'\t'Find mistakes, and the command that mends each'
            set -a verbs_told 'reconcile'\t'Settle tokens that never arrived, and all else that has come due'
            set -a verbs_told 'archive'\t'Move the bodies of old records to a file'
            set flags_told
            set -a flags_told '--since'\t'From then on; 2h is two hours ago'
            set -a flags_told '--until'\t'Before then'
            set -a flags_told '--operation'\t'By operation: token.issue, or all token.*'
            set -a flags_told '--actor'\t'By actor, whole: alice@build-07'
            set -a flags_told '--ticket'\t'By ticket, whole'
            set -a flags_told '--request-id'\t'By request id, whole'
            set -a flags_told '--target'\t'About this token, key or store'
            set -a flags_told '--token'\t'About tokens that prove themselves on stdin'
            set -a flags_told '--limit'\t'The newest N only; with --after the first N'
            set -a flags_told '--after'\t'Go on behind this record'
            set -a flags_told '--before'\t'Go back from this record'
            set -a flags_told '--follow'\t'Go on with new records; --timeout ends it'
            set -a flags_told '--raw'\t'The verbatim bodies, one a line: the bytes that the tree hashes'
            set -a flags_told '--all-profiles'\t'With --token: in whichever profile it belongs to'
            set -a flags_told '--ask'\t'With --token: this profile, whatever it is'
            set -a flags_told '--subject'\t'By subject; * is any text'
            set -a flags_told '--owner'\t'By owner; * is any text'
            set -a flags_told '--scope'\t'By scope'
            set -a flags_told '--audience'\t'By audience; * is any text'
            set -a flags_told '--kind'\t'access, personal or service'
            set -a flags_told '--format'\t'opaque or jwt'
            set -a flags_told '--kid'\t'By signing key'
            set -a flags_told '--label'\t'By label; * is any text'
            set -a flags_told '--parent'\t'Children of a token'
            set -a flags_told '--batch'\t'By request id'
            set -a flags_told '--issued-after'\t'Issued at or after'
            set -a flags_told '--issued-before'\t'Issued before'
            set -a flags_told '--expires-after'\t'Expires at or after'
            set -a flags_told '--expires-before'\t'Expires before'
            set -a flags_told '--unused-for'\t'Not used for so long'
            set -a flags_told '--never-used'\t'Never used'
            set -a flags_told '--include-untracked'\t'With tokens whose use is not seen here'
            set -a flags_told '--state'\t'By state; default every one'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --since --until --operation --actor --ticket --request-id --target --token --limit --after --before --ask --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --state -p --profile -o --output --timeout --credential-file --credential-fd
        case 'audit log'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--since'\t'From then on; 2h is two hours ago'
            set -a flags_told '--until'\t'Before then'
            set -a flags_told '--operation'\t'By operation: token.issue, or all token.*'
            set -a flags_told '--actor'\t'By actor, whole: alice@build-07'
            set -a flags_told '--ticket'\t'By ticket, whole'
            set -a flags_told '--request-id'\t'By request id, whole'
            set -a flags_told '--target'\t'About this token, key or store'
            set -a flags_told '--token'\t'About tokens that prove themselves on stdin'
            set -a flags_told '--limit'\t'The newest N only; with --after the first N'
            set -a flags_told '--after'\t'Go on behind this record'
            set -a flags_told '--before'\t'Go back from this record'
            set -a flags_told '--follow'\t'Go on with new records; --timeout ends it'
            set -a flags_told '--raw'\t'The verbatim bodies, one a line: the bytes that the tree hashes'
            set -a flags_told '--all-profiles'\t'With --token: in whichever profile it belongs to'
            set -a flags_told '--ask'\t'With --token: this profile, whatever it is'
            set -a flags_told '--subject'\t'By subject; * is any text'
            set -a flags_told '--owner'\t'By owner; * is any text'
            set -a flags_told '--scope'\t'By scope'
            set -a flags_told '--audience'\t'By audience; * is any text'
            set -a flags_told '--kind'\t'access, personal or service'
            set -a flags_told '--format'\t'opaque or jwt'
            set -a flags_told '--kid'\t'By signing key'
            set -a flags_told '--label'\t'By label; * is any text'
            set -a flags_told '--parent'\t'Children of a token'
            set -a flags_told '--batch'\t'By request id'
            set -a flags_told '--issued-after'\t'Issued at or after'
            set -a flags_told '--issued-before'\t'Issued before'
            set -a flags_told '--expires-after'\t'Expires at or after'
            set -a flags_told '--expires-before'\t'Expires before'
            set -a flags_told '--unused-for'\t'Not used for so long'
            set -a flags_told '--never-used'\t'Never used'
            set -a flags_told '--include-untracked'\t'With tokens whose use is not seen here'
            set -a flags_told '--state'\t'By state; default every one'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --since --until --operation --actor --ticket --request-id --target --token --limit --after --before --ask --subject --owner --scope --audience --kind --format --kid --label --parent --batch --issued-after --issued-before --expires-after --expires-before --unused-for --state -p --profile -o --output --timeout --credential-file --credential-fd
        case 'audit show'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--proof'\t'Print the proof that its newest record is in the log'
            set -a flags_told '--seq'\t'With --proof: of this record about it'
            set -a flags_told '--disclose'\t'With --proof: tell the parameters that it commits to'
            set -a flags_told '--out'\t'Write it there, whole; - is stdout'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --seq --out -p --profile -o --output --timeout --credential-file --credential-fd
        case 'audit verify'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--full'\t'The whole log; alone: without the rows'
            set -a flags_told '--state'\t'Every row against its records; alone: the log unhashed'
            set -a flags_told '--quick'\t'Only what came since the last sound check'
            set -a flags_told '--known-head'\t'A checkpoint that was kept elsewhere; - reads one from stdin'
            set -a flags_told '--proof'\t'Check this proof of a record alone; needs no store'
            set -a flags_told '--key'\t'The key that was kept with a checkpoint or proof'
            set -a flags_told '--archive'\t'Check the bodies that moved to it too'
            set -a flags_told '--require-anchor'\t'Accept nothing that no head kept elsewhere agrees with'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --known-head --proof --key --archive -p --profile -o --output --timeout --credential-file --credential-fd
        case 'audit checkpoint'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--out'\t'Write it there, 0644, whole; - is stdout'
            set -a flags_told '--key'\t'Print the verifier key of the log instead'
            set -a flags_told '--handover'\t'Print what proves the key to who knows the one before'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --out -p --profile -o --output --timeout --credential-file --credential-fd
        case 'audit review'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--rule'\t'Look for this alone'
            set -a flags_told '--fail-on'\t'Exit 3 from this severity on; default note'
            set -a flags_told '--baseline'\t'Leave out what this file knows'
            set -a flags_told '--write-baseline'\t'Write what is found there, as known from now on'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json, jsonl or sarif'
            set -a flags_told '--output'\t'text, json, jsonl or sarif'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --rule --fail-on --baseline --write-baseline -p --profile -o --output --timeout --credential-file --credential-fd
        case 'audit reconcile'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-n'\t'Say what would be settled'
            set -a flags_told '--dry-run'\t'Say what would be settled'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'audit archive'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--before'\t'Of records before then; 365d is 365 days ago'
            set -a flags_told '--out'\t'The file to write; it must not be there'
            set -a flags_told '-n'\t'Say what would be moved'
            set -a flags_told '--dry-run'\t'Say what would be moved'
            set -a flags_told '-y'\t'Do not ask'
            set -a flags_told '--yes'\t'Do not ask'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --before --out -p --profile -o --output --timeout --credential-file --credential-fd
        case 'login'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--client-id'\t'The client that the secret is of'
            set -a flags_told '--role-id'\t'The AppRole that the secret id is of'
            set -a flags_told '--rotate'\t'Let a fresh credential take the place of the one kept'
            set -a flags_told '--in-place'\t'Let the service replace the secret of the client'
            set -a flags_told '-y'\t'Do not ask'
            set -a flags_told '--yes'\t'Do not ask'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --client-id --role-id -p --profile -o --output --timeout --credential-file --credential-fd
        case 'logout'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--revoke'\t'Let the service deny it first'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'whoami'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'profile'
            set verbs add list show use trust remove
            set verbs_told
            set -a verbs_told 'add'\t'Make a profile'
            set -a verbs_told 'list'\t'List the profiles'
            set -a verbs_told 'show'\t'Show a profile\'s settings, places and policy'
            set -a verbs_told 'use'\t'Choose the profile that is meant where none is named'
            set -a verbs_told 'trust'\t'Believe the JWTs of an issuer, by the keys that it publishes'
            set -a verbs_told 'remove'\t'Remove a profile; its store stays'
            set flags_told
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued 
        case 'profile add'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--backend'\t'What keeps the tokens: local, oauth2 or openbao'
            set -a flags_told '--issuer'\t'iss of its JWTs; the authorization server'
            set -a flags_told '--default-audience'\t'aud of its JWTs'
            set -a flags_told '--eddsa-name'\t'EdDSA or Ed25519 in headers'
            set -a flags_told '--jwks-file'\t'Where its public keys are written for verifiers'
            set -a flags_told '--verifier'\t'Where a verifier shows its keys'
            set -a flags_told '--address'\t'Where OpenBao or Vault answers'
            set -a flags_told '--namespace'\t'The namespace there'
            set -a flags_told '--approle-mount'\t'Where its AppRoles log in; default approle'
            set -a flags_told '--transit-mount'\t'The transit engine whose keys rotate-keys is for'
            set -a flags_told '--client-id'\t'Your client at the issuer'
            set -a flags_told '--client-auth'\t'client_secret_basic, client_secret_post, private_key_jwt'
            set -a flags_told '--endpoint'\t'An endpoint, in place of the issuer\'s own word'
            set -a flags_told '--ca-file'\t'The certificates to trust, PEM'
            set -a flags_told '-y'\t'Confirm endpoints at other origins'
            set -a flags_told '--yes'\t'Confirm endpoints at other origins'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --backend --issuer --default-audience --eddsa-name --jwks-file --verifier --address --namespace --approle-mount --transit-mount --client-id --client-auth --endpoint --ca-file -p --profile -o --output --timeout --credential-file --credential-fd
        case 'profile list'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'profile show'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'profile use'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'profile trust'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--remove'\t'Trust it no more'
            set -a flags_told '--ca-file'\t'The certificates to trust, PEM'
            set -a flags_told '-y'\t'Confirm keys at another origin'
            set -a flags_told '--yes'\t'Confirm keys at another origin'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --ca-file -p --profile -o --output --timeout --credential-file --credential-fd
        case 'profile remove'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-y'\t'Do not ask'
            set -a flags_told '--yes'\t'Do not ask'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'store'
            set verbs info move-secret backup restore accept-clock seal release
            set verbs_told
            set -a verbs_told 'info'\t'Tell what the store is, where it lies and how it stands'
            set -a verbs_told 'move-secret'\t'Move the root secret to another place'
            set -a verbs_told 'backup'\t'Write the store and its root secret to a file, encrypted'
            set -a verbs_told 'restore'\t'Put a backup in place of the store'
            set -a verbs_told 'accept-clock'\t'Go on from the present clock after a record ahead of it'
            set -a verbs_told 'seal'\t'Quarantine the store by hand, with a record'
            set -a verbs_told 'release'\t'Accept a quarantined store as it is, with a record'
            set flags_told
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued 
        case 'store info'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'store move-secret'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'store backup'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--recipient'\t'Who can open it: age1..., or an SSH public key'
            set -a flags_told '--recipients-file'\t'One recipient a line'
            set -a flags_told '--passphrase-file'\t'The passphrase is the line in F'
            set -a flags_told '--passphrase-fd'\t'The same, from a descriptor'
            set -a flags_told '--without-keys'\t'Leave the root secret out'
            set -a flags_told '-y'\t'Replace a file that is there'
            set -a flags_told '--yes'\t'Replace a file that is there'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --recipient --recipients-file --passphrase-file --passphrase-fd -p --profile -o --output --timeout --credential-file --credential-fd
        case 'store restore'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--identity'\t'The file of an age identity that opens it'
            set -a flags_told '--passphrase-file'\t'The passphrase is the line in F'
            set -a flags_told '--passphrase-fd'\t'The same, from a descriptor'
            set -a flags_told '--keep-active'\t'Do not suspend its tokens'
            set -a flags_told '--reason'\t'Why, for the record'
            set -a flags_told '-y'\t'Do not ask'
            set -a flags_told '--yes'\t'Do not ask'
            set -a flags_told '-n'\t'Check the backup and say what would be done'
            set -a flags_told '--dry-run'\t'Check the backup and say what would be done'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --identity --passphrase-file --passphrase-fd --reason -p --profile -o --output --timeout --credential-file --credential-fd
        case 'store accept-clock'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--reason'\t'Why the last record was ahead'
            set -a flags_told '-y'\t'Do not ask'
            set -a flags_told '--yes'\t'Do not ask'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --reason -p --profile -o --output --timeout --credential-file --credential-fd
        case 'store seal'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--reason'\t'Why nothing here may be believed'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --reason -p --profile -o --output --timeout --credential-file --credential-fd
        case 'store release'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--reason'\t'Why the store may be believed'
            set -a flags_told '-y'\t'Do not ask'
            set -a flags_told '--yes'\t'Do not ask'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued --reason -p --profile -o --output --timeout --credential-file --credential-fd
        case 'doctor'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '--strict'\t'Exit 3 when there are warnings'
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
        case 'completion'
            set verbs
            set verbs_told
            set flags_told
            set -a flags_told '-p'\t'The profile to work on'
            set -a flags_told '--profile'\t'The profile to work on'
            set -a flags_told '-o'\t'text, json or jsonl'
            set -a flags_told '--output'\t'text, json or jsonl'
            set -a flags_told '-q'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '--quiet'\t'Only the answer; an outcome is the exit code'
            set -a flags_told '-v'\t'Say more on stderr'
            set -a flags_told '--verbose'\t'Say more on stderr'
            set -a flags_told '--no-input'\t'Never ask'
            set -a flags_told '--timeout'\t'Wait at most this long, default 30s'
            set -a flags_told '--debug'\t'On a bug, show where it happened'
            set -a flags_told '--credential-file'\t'The credential of a remote profile'
            set -a flags_told '--credential-fd'\t'The same, from a descriptor'
            set -a flags_told '-h'\t'Show help and exit'
            set -a flags_told '--help'\t'Show help and exit'
            set valued -p --profile -o --output --timeout --credential-file --credential-fd
    end
end

function __tokenctl_value --no-scope-shadowing
    switch "$argv[1]"
        case '*:-p' '*:--profile' '*:--ask'
            __tokenctl_profiles
        case ':-o' 'issue:-o' 'inspect:-o' 'list:-o' 'revoke:-o' 'rotate-keys:-o' 'rotate-keys status:-o' 'rotate-keys jwks:-o' 'rotate-keys rollback:-o' 'rotate-keys retire:-o' 'audit:-o' 'audit log:-o' 'audit show:-o' 'audit verify:-o' 'audit checkpoint:-o' 'audit reconcile:-o' 'audit archive:-o' 'login:-o' 'logout:-o' 'whoami:-o' 'profile add:-o' 'profile list:-o' 'profile show:-o' 'profile use:-o' 'profile trust:-o' 'profile remove:-o' 'store info:-o' 'store move-secret:-o' 'store backup:-o' 'store restore:-o' 'store accept-clock:-o' 'store seal:-o' 'store release:-o' 'doctor:-o' 'completion:-o' ':--output' 'issue:--output' 'inspect:--output' 'list:--output' 'revoke:--output' 'rotate-keys:--output' 'rotate-keys status:--output' 'rotate-keys jwks:--output' 'rotate-keys rollback:--output' 'rotate-keys retire:--output' 'audit:--output' 'audit log:--output' 'audit show:--output' 'audit verify:--output' 'audit checkpoint:--output' 'audit reconcile:--output' 'audit archive:--output' 'login:--output' 'logout:--output' 'whoami:--output' 'profile add:--output' 'profile list:--output' 'profile show:--output' 'profile use:--output' 'profile trust:--output' 'profile remove:--output' 'store info:--output' 'store move-secret:--output' 'store backup:--output' 'store restore:--output' 'store accept-clock:--output' 'store seal:--output' 'store release:--output' 'doctor:--output' 'completion:--output'
            __tokenctl_words text json jsonl
        case 'audit review:-o' 'audit review:--output'
            __tokenctl_words text json jsonl sarif
        case '*:--credential-file' '*:--exchange' '*:--out' '*:--from' '*:--file' '*:--jwks' '*:--plan' '*:--known-head' '*:--proof' '*:--archive' '*:--baseline' '*:--write-baseline' '*:--jwks-file' '*:--approle-mount' '*:--transit-mount' '*:--ca-file'
            __tokenctl_files
        case '*:--format'
            __tokenctl_words opaque jwt
        case '*:--algorithm'
            __tokenctl_words ES256 EdDSA Ed25519 PS256 RS256
        case '*:--kind'
            __tokenctl_words access personal service
        case '*:--state'
            __tokenctl_words active suspended not_yet_valid spent expired revoked undelivered all
        case 'revoke:--reason'
            __tokenctl_words compromised superseded unused owner_left policy undelivered test other
        case '*:--then'
            __tokenctl_words lift revoke
        case '*:--fail-on'
            __tokenctl_words error warning note
        case '*:--backend'
            __tokenctl_words local oauth2 openbao
        case '*:--eddsa-name'
            __tokenctl_words EdDSA Ed25519
    end
end

function __tokenctl_argument --no-scope-shadowing
    switch "$argv[1]"
        case 'profile show:0' 'profile use:0' 'profile remove:0'
            __tokenctl_profiles
        case 'store move-secret:0'
            __tokenctl_words keyring file credential
        case 'store backup:0' 'store restore:0'
            __tokenctl_files
        case 'completion:0'
            __tokenctl_words bash zsh fish
        case '*'
            return 1
    end
end

function __tokenctl_words --no-scope-shadowing
    set -a offers $prefix$argv
    return 0
end

function __tokenctl_files --no-scope-shadowing
    set wants_files yes
    return 0
end

function __tokenctl_profiles --no-scope-shadowing
    set -l base $XDG_CONFIG_HOME
    string match -q '/*' -- "$base"; or set base $HOME/.config
    set -l config $base/tokenctl
    test -n "$TOKENCTL_CONFIG"; and set config $TOKENCTL_CONFIG
    set -l files $config/profiles/*.toml
    set -l names
    set -q files[1]
    and set names (string replace -rf '(?s)\A.*/([A-Za-z0-9_][A-Za-z0-9_.:-]{0,63})\.toml\z' '$1' -- $files)
    contains -- local $names; or set -a names local
    __tokenctl_words $names
end

function __tokenctl_offer --description 'Offer what can stand at the cursor; with "files", tell whether a file can'
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l verb ''
    set -l verbs
    set -l verbs_told
    set -l flags_told
    set -l valued
    set -l option ''
    set -l prefix ''
    set -l offers
    set -l wants_files no
    set -l given 0
    __tokenctl_node ''
    set -e words[1]
    while set -q words[1]
        set -l word $words[1]
        set -e words[1]
        if test "$word" = --
            contains -- "$verb" 'issue'; or return 1
            test "$argv" = files; and return 1
            complete -C (string join ' ' -- (string escape -- $words) $typed)
            return
        else if contains -- "$word" $valued
            set -q words[1]; or set option $word
            set -e words[1]
        else if not string match -q -- '-*' "$word"
            if test $given = 0; and contains -- "$word" $verbs
                set verb (string trim -- "$verb $word")
                __tokenctl_node "$verb"
            else
                set given 1
            end
        end
    end

    if test -z "$option"; and string match -q -- '--*=*' "$typed"
        set option (string replace -r '(?s)=.*' '' -- "$typed")
        set prefix $option=
        contains -- "$option" $valued; or return 1
    end
    if test -n "$option"
        __tokenctl_value "$verb:$option"
    else if string match -q -- '-*' "$typed"
        set offers $flags_told
    else if set -q verbs[1]; and test $given = 0
        set offers $verbs_told
    else if not __tokenctl_argument "$verb:$given"; and test -z "$typed"
        set offers $flags_told
    end
    if test "$argv" = files
        test $wants_files = yes
    else if set -q offers[1]
        printf '%s\n' $offers
    end
end

complete -c tokenctl -f
complete -c tokenctl -n '__tokenctl_offer files' -F
complete -c tokenctl -a '(__tokenctl_offer)'

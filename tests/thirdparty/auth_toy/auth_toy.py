"""An authenticator: whoever sends the key is the toy's friend."""

from attrs import frozen

from mfn_core import Call, ComponentContext, ComponentSpec, Principal, Secret, hookimpl, setting, unauthenticated


@frozen(kw_only=True)
class ToySettings:
    key: Secret = setting(help="what friends send as x-toy-key")


class ToyAuthenticator:
    def __init__(self, settings: ToySettings, context: ComponentContext) -> None:
        self.key = settings.key

    async def authenticate(self, call: Call) -> Principal | None:
        given = call.metadata.get("x-toy-key")
        if given is None:
            return None
        if Secret(given) != self.key:  # in constant time
            raise unauthenticated("not the key")
        return Principal(name="friend", roles=frozenset({"read"}), method="toy")


@hookimpl
def mfn_authenticators() -> list[ComponentSpec]:
    return [ComponentSpec(name="toy", config=ToySettings, factory=ToyAuthenticator, summary="one key in a header")]

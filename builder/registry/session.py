"""One registry: requests to it, each again where that may help.

https, but for this machine's own registries and where it is said otherwise
401            with what it wants, once (distribution-spec, "Endpoints": the rest is docker's)
429, 5xx, lost connections    after a pause, the registry's own if it names one (RFC 9110, 10.2.3)
anything else  an error with what the registry says (distribution-spec, "Error Codes")
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from threading import Lock as Mutex
from typing import TYPE_CHECKING, Any, TypeVar

from builder.errors import RegistryError
from builder.registry import mirrors, tokens
from builder.registry.address import Address, Host
from builder.registry.logins import Logins
from builder.registry.tokens import Authorization, Scopes
from builder.report import Reporter

if TYPE_CHECKING:
    import httpx

TRIES = 5
_LONGEST_PAUSE = 60.0
_AGAIN = frozenset({429, 500, 502, 503, 504})
LARGEST_DOCUMENT = 64 << 20
"""What is read as a whole has at most so many bytes; our manifests have less than 1 MB."""
CERTIFICATES = (Path("~/.config/containers/certs.d"), Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))
"""Where a registry's own certificates lie, in folders by its name (containers-certs.d(5))."""
T = TypeVar("T")
Body = bytes | Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a registry has answered: status, headers, and the body if it is small."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    def json(self) -> Any:
        """Its body as data.

        Raises:
            RegistryError: it is none.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise RegistryError(f"{self.url} gives something that is no JSON", self.url, self.status) from None


class Unfinished(Exception):
    """A registry did not do what it should: it may do so the next time.

    Args:
        pause: seconds that it asks us to wait, if it does.
    """

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class Session:
    """A registry as long as the ``with`` block runs; threads may share it.

    Args:
        patience: seconds after which it counts as one that does not answer; pauses go by it.
        tries: how often something is asked for that may go better.

    Attributes:
        stopped: set when all is to end; whoever waits or sends looks at it.
    """

    def __init__(
        self, host: Host, logins: Logins, reporter: Reporter, patience: float = 30, tries: int = TRIES
    ) -> None:
        self.host, self.reporter = host, reporter
        self.stopped = Event()
        self._patience, self._tries = patience, tries
        self._authorization = Authorization(host, logins, self._ask_for_token)
        self._client: httpx.Client | None = None
        self._base = ""
        self._mutex = Mutex()
        self._logins = logins
        self._mirrors: dict[Host, Session | None] = {}
        self._mirrored: dict[str, tuple[Address, ...]] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for mirror in self._mirrors.values():
            if mirror is not None:
                mirror.__exit__()
        if self._client is not None:
            self._client.close()

    def places(self, repository: str) -> Iterator[tuple[Session, str]]:
        """Where a repository's blobs may be read: in mirrors of the registry, and at last in it."""
        with self._mutex:
            if repository not in self._mirrored:
                self._mirrored[repository] = mirrors.of(self.host, repository)
        for where in self._mirrored[repository]:
            with self._mutex:
                if where.host not in self._mirrors:
                    self._mirrors[where.host] = Session(where.host, self._logins, self.reporter, self._patience / 3, 2)
                mirror = self._mirrors[where.host]
            if mirror is not None:
                yield mirror, where.path
        yield self, repository

    def without(self, mirror: Session, because: str) -> None:
        """Ask a mirror no more."""
        with self._mutex:
            asked = self._mirrors.get(mirror.host) is not None
            self._mirrors[mirror.host] = None
        if asked:
            self.reporter.warn(f"{mirror.host} mirrors {self.host}, and is done without: {because}")

    @contextlib.contextmanager
    def workers(self, count: int) -> Iterator[ThreadPoolExecutor]:
        """Threads that share the session, and end with the block: it is of no use afterwards."""
        pool, patient = ThreadPoolExecutor(count), True
        try:
            yield pool
        except BaseException as error:
            patient = isinstance(error, Exception)
            raise
        finally:
            self.stopped.set()
            # Who interrupts us does not wait for a connection that is stuck.
            pool.shutdown(wait=patient, cancel_futures=True)

    def ping(self) -> None:
        """See that there is a registry that speaks to us (distribution-spec, "Endpoints", end-1).

        Raises:
            RegistryError: there is none.
        """
        answer = self.ask("GET", "/v2/", right=(200, 404))
        if answer.status == 404:
            raise RegistryError(f"{self.host} is no registry: {answer.url} answers 404", answer.url, 404)

    def ask(
        self, method: str, path: str, repository: str = "", scopes: Scopes = (), *, right: tuple[int, ...] = (200,),
        headers: Mapping[str, str] | None = None, body: Body | None = None,
    ) -> Answer:  # fmt: skip
        """Ask for something small, again if need be.

        Args:
            right: answers that are no error.

        Raises:
            RegistryError: another answer, or none.
        """
        return self.patiently(
            lambda: self.once(method, path, repository, scopes, right=right, headers=headers, body=body)
        )

    def patiently(self, what: Callable[[], T]) -> T:
        """Do something until it does not raise `Unfinished`, a few times.

        Raises:
            RegistryError: it always did.
        """
        pause = self._patience / 60
        for attempt in range(1, self._tries + 1):
            self.require_going_on()
            try:
                return what()
            except Unfinished as error:
                problem, asked = str(error), error.pause
            if attempt < self._tries:
                wait = min(pause if asked is None else asked, _LONGEST_PAUSE)
                self.reporter.note(f"{self.host}: {problem}; again in {wait:g} s ({attempt} of {self._tries})")
                self.stopped.wait(wait)
                pause *= 2
        tried = f"it was tried {self._tries} times; what has come so far is kept" if self._tries > 1 else ""
        raise RegistryError(f"{self.host}: {problem}", hint=tried)

    def require_going_on(self) -> None:
        """End this thread's work if all is to end."""
        if self.stopped.is_set():
            raise KeyboardInterrupt

    def once(
        self, method: str, path: str, repository: str = "", scopes: Scopes = (), *, right: tuple[int, ...] = (200,),
        headers: Mapping[str, str] | None = None, body: Body | None = None, slow: bool = False,
    ) -> Answer:  # fmt: skip
        """Ask for something small, without a second try but for a login.

        Args:
            path: or a whole address, as registries give them; credentials go to the registry's own alone.
            slow: what is asked for may take the registry some time.

        Raises:
            RegistryError: another answer.
            Unfinished: an answer, or none, that may be another one the next time.
        """
        with self.streamed(
            method, path, repository, scopes, right=right, headers=headers, body=body, slow=slow
        ) as response:
            data = bytearray()
            for piece in response.iter_bytes():
                data += piece
                if len(data) > LARGEST_DOCUMENT:
                    raise RegistryError(f"{_shown(response)} gives a document of more than {LARGEST_DOCUMENT >> 20} MB")
            return Answer(response.status_code, response.headers, bytes(data), _shown(response))

    @contextlib.contextmanager
    def streamed(
        self, method: str, path: str, repository: str = "", scopes: Scopes = (), *, right: tuple[int, ...] = (200,),
        headers: Mapping[str, str] | None = None, body: Body | None = None, slow: bool = False,
    ) -> Iterator[httpx.Response]:  # fmt: skip
        """As `once`, for a body that is read piece by piece."""
        import httpx

        try:
            client, base = self._connected()
            own = httpx.URL(base)
            url = own.join(path)
            if (url.host, url.scheme, own.scheme) == (own.host, "http", "https"):
                # Behind what ends TLS, some registries do not know that there is any.
                url = url.copy_with(scheme="https", port=own.port)
            ours, plain = (url.scheme, url.netloc) == (own.scheme, own.netloc), own.scheme == "http"
            for tried in (False, True):
                shown = self._authorization.header(repository, scopes, plain=plain) if ours else ""
                said = {**(headers or {}), **({"Authorization": shown} if shown else {})}
                request = client.build_request(
                    method, url, headers=said, content=body() if callable(body) else body, timeout=self._times(slow)
                )
                response = client.send(request, stream=True, follow_redirects=method in ("GET", "HEAD"))
                try:
                    if response.status_code == 401 and ours:
                        if tried:
                            raise self._authorization.denied(repository)
                        challenges = response.headers.get("WWW-Authenticate", "")
                        self._authorization.refused(shown, repository, scopes, challenges)
                        response.read()
                        continue
                    if response.status_code not in right:
                        raise _problem(response)
                    yield response
                    return
                finally:
                    response.close()
        except httpx.TransportError as error:
            raise Unfinished(_said(error)) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise RegistryError(f"{self.host}: {_said(error)}") from None

    def _times(self, slow: bool) -> httpx.Timeout:
        import httpx

        # To end an upload some registries copy it once more before they answer.
        return httpx.Timeout(self._patience, read=self._patience * (10 if slow else 1), pool=None)

    def _ask_for_token(
        self, method: str, url: str, headers: Mapping[str, str], *, params: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:  # fmt: skip
        import httpx

        client, _ = self._connected()
        try:
            response = client.request(method, url, headers=dict(headers), params=params, data=form)
        except httpx.TransportError as error:
            raise Unfinished(f"no token: {_said(error)}") from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise RegistryError(f"{self.host} names no place that gives tokens") from None
        if response.status_code in _AGAIN:
            raise Unfinished(f"no token: {response.status_code} {response.reason_phrase}", _pause(response.headers))
        try:
            return response.status_code, response.json()
        except ValueError:
            return response.status_code, None

    def _connected(self) -> tuple[httpx.Client, str]:
        import httpx

        with self._mutex:
            if self._client is None:
                self._client = httpx.Client(
                    verify=_certificates(self.host), timeout=self._patience, trust_env=not self.host.loopback,
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
                    headers={"Accept-Encoding": "identity", "User-Agent": "imgbuild"},
                )  # fmt: skip
            if not self._base:
                self._base = self._found(self._client)
            return self._client, self._base

    def _found(self, client: httpx.Client) -> str:
        """The registry's address: on this machine it may be one without TLS."""
        import httpx

        if self.host.plain:
            return f"http://{self.host.api}"
        if self.host.loopback:
            try:
                client.get(f"https://{self.host.api}/v2/")
            except httpx.TransportError as error:
                if _speaks_without_tls(error):
                    return f"http://{self.host.api}"
                raise
        return f"https://{self.host.api}"


def _speaks_without_tls(error: BaseException) -> bool:
    # A certificate that nobody vouches for is no reason to do without any.
    while found := error.__cause__ or error.__context__:
        error = found
        if isinstance(error, ssl.SSLError):
            # Who sends alerts speaks TLS: it may want a certificate of ours.
            return not isinstance(error, ssl.SSLCertVerificationError) and "ALERT" not in (error.reason or "")
    return "SSL" in str(error) and "CERTIFICATE" not in str(error)


def _certificates(host: Host) -> ssl.SSLContext:
    """Whom to believe: the system (or ``$SSL_CERT_FILE``), and what lies in folders by the registry's name."""
    context = ssl.create_default_context()
    for folder in (place.expanduser() / host.name for place in CERTIFICATES):
        if not folder.is_dir():
            continue
        try:
            for file in sorted(folder.glob("*.crt")):
                context.load_verify_locations(file)
            for file in sorted(folder.glob("*.cert")):
                context.load_cert_chain(file, file.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise RegistryError(f"{folder}: a certificate cannot be read: {error}") from None
    return context


def _problem(response: httpx.Response) -> Exception:
    """What a registry says is wrong (distribution-spec, "Error Codes")."""
    response.read()
    status, shown = response.status_code, _shown(response)
    said = f"{status} {response.reason_phrase}".strip()
    if status in _AGAIN:
        return Unfinished(f"{response.request.method} {shown} answers {said}", _pause(response.headers))
    codes: list[str] = []
    with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
        errors = json.loads(response.content)["errors"]
        codes = [str(one.get("code")) for one in errors]
        told = ", ".join(f"{one.get('code')}: {one.get('message') or ''}".strip(": ") for one in errors)
        said = f"{said} ({told[:500]})" if told else said
    hint = "who logged in may not do that there" if status == 403 else ""
    return RegistryError(f"{response.request.method} {shown} answers {said}", shown, status, hint, tuple(codes))


def _shown(response: httpx.Response) -> str:
    # Storage servers have signatures in the query.
    return str(response.request.url.copy_with(query=None, userinfo=b""))


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _pause(headers: Mapping[str, str]) -> float | None:
    """Retry-After: seconds, or a date (RFC 9110, 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def scopes(repository: str, *, push: bool = False, other: str = "") -> Scopes:
    """What a request is about to do.

    Args:
        other: a repository that is read, too.
    """
    own = tokens.scope(repository, "pull", "push") if push else tokens.scope(repository, "pull")
    return (own, tokens.scope(other, "pull")) if other else (own,)

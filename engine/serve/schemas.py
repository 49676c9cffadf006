"""The JSON answers of the server; FastAPI describes them in OpenAPI."""

from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, Field


class Output(str, Enum):
    """What ``POST /segment`` answers with."""

    LABELS = 'labels'
    OVERLAY = 'overlay'
    JSON = 'json'
    PALETTE = 'palette'
    CONFIDENCE = 'confidence'


class Part(str, Enum):
    """A further part of the JSON answer."""

    PICTURES = 'pictures'
    PIXELS = 'pixels'
    ORIGINAL = 'original'


class ModelClass(BaseModel):
    """A class of a model."""

    index: int = Field(description='value of its pixels in labels')
    name: str
    colour: str = Field(description='colour in overlays and palettes', examples=['#804080'])


class ModelTask(BaseModel):
    """What a model predicts for every pixel."""

    name: str = Field(description='value of the parameter `task`', examples=['depth'])
    kind: Literal['classes', 'depth']
    classes: list[ModelClass] = Field(description='none for depth')


class Model(BaseModel):
    """A config whose weights are on the server."""

    name: str = Field(description='value of the parameter `model`', examples=['D3Net_T_camvid'])
    network: str
    weights: str = Field(description='name of the file of weights')
    loaded: bool = Field(description='whether it answers without being loaded first')
    scalable: bool = Field(description='whether the parameter `scale` may be given')
    resizes: bool = Field(
        description='whether it resizes every picture itself, unless `scale` is given'
    )
    classes: list[ModelClass] = Field(description='of its first task that has classes')
    first_input: Literal['flow', 'image'] | None = Field(
        description='what the field `first_input` of the body has, for models that take two '
        'pictures of a scene: optical flow, or an image such as the frame before; null for models '
        'that take one picture'
    )
    tasks: list[ModelTask]


class Limits(BaseModel):
    """What the server accepts at most."""

    bytes: int = Field(description='of one uploaded file')
    pixels: int = Field(description='of one picture, and of one picture times the square of scale')
    seconds: float = Field(description='of the upload, of waiting, and of computing')


class Models(BaseModel):
    """The models of the server, the default one first."""

    default: str
    models: list[Model]
    limits: Limits


class Health(BaseModel):
    """The state of the server."""

    status: Literal['ok', 'stopping']
    version: str
    running: int = Field(description='requests that are computed')
    waiting: int = Field(description='requests that are uploaded, wait, or are answered')
    capacity: int = Field(description='requests that are accepted at the same time')


class FoundClass(ModelClass):
    """A class that occurs in a picture."""

    share: float = Field(description='of the pixels, from 0 to 1')
    pixels: int
    confidence: float = Field(description='mean probability of the class in its pixels')


class Pictures(BaseModel):
    """Pictures as base64 of PNG files."""

    labels: str = Field(description='class indices, 8 bit grey')
    palette: str = Field(description='class indices with the colours as palette')


class Pixels(BaseModel):
    """Rows from the top, one byte a pixel, as base64 of zlib-compressed bytes."""

    labels: str = Field(description='class indices')
    confidence: str = Field(description='probability of the class, 0 to 255')


class Size(BaseModel):
    """A size in pixels."""

    width: int
    height: int


class Computation(BaseModel):
    """How a picture was computed."""

    model: str
    width: int
    height: int
    scale: float | None = Field(description='the given scale; null without one')
    views: list[Size] = Field(description='sizes at which the network saw the picture')
    seconds: float = Field(description='of the computation')


class FoundClasses(BaseModel):
    """The classes of a picture."""

    confidence: float = Field(description='mean probability of the chosen classes')
    classes: list[FoundClass] = Field(description='the classes that occur, the largest first')
    pictures: Pictures | None = Field(default=None, description='with include=pictures')
    pixels: Pixels | None = Field(default=None, description='with include=pixels')


class Answer(FoundClasses, Computation):
    """The result of a picture, of models with one task that has classes."""

    original: str | None = Field(
        default=None,
        description='with include=original: base64 of a JPEG of the picture as the network saw '
        'it, upright',
    )


class ClassTask(FoundClasses):
    """The result of a task that has classes, among several."""

    kind: Literal['classes']


class DepthColours(BaseModel):
    """The colours of depth, from near to far on a logarithmic scale."""

    near: float = Field(description='metres of the nearest colour')
    far: float = Field(description='metres of the farthest colour')
    marks: list[float] = Field(description='round depths between them, in metres, for a scale bar')


class DepthPictures(BaseModel):
    """Pictures as base64 of PNG files."""

    depth: str = Field(description='metres times 256, 16 bit grey; 0 where unknown')
    overlay: str = Field(description='the colours of the depth with a bar of metres')


class DepthPixels(BaseModel):
    """Rows from the top, as base64 of zlib-compressed bytes."""

    depth: str = Field(description='metres times 256, two bytes a pixel, the lower one first')
    ramp: list[str] = Field(description='256 colours from far to near', examples=[['#30123b']])


class DepthTask(BaseModel):
    """The result of a task that is depth."""

    kind: Literal['depth']
    median: float = Field(description='metres')
    low: float = Field(description='metres; 5 % of the pixels with a depth are nearer')
    high: float = Field(description='metres; 5 % of the pixels with a depth are farther')
    colours: DepthColours
    pictures: DepthPictures | None = Field(default=None, description='with include=pictures')
    pixels: DepthPixels | None = Field(default=None, description='with include=pixels')


class TasksAnswer(Computation):
    """The result of a picture or scene, of models with several tasks, or with depth."""

    tasks: dict[str, Annotated[ClassTask | DepthTask, Field(discriminator='kind')]] = Field(
        description='by name, in the order of the model'
    )
    original: str | None = Field(
        default=None,
        description='with include=original: base64 of a JPEG of the picture as the network saw '
        'it, upright',
    )


class Error(BaseModel):
    """Why a request was refused."""

    error: str = Field(description='one line with the fault and the remedy')

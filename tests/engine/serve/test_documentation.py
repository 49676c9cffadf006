"""OpenAPI of the interface, and the page that shows it."""

import pytest

from datasets import image_files
from support import browsers, stand_ins


@pytest.fixture(scope='module')
def description(small_server):
    return small_server.get('/openapi.json').json


def test_the_version_of_openapi(description):
    assert description['openapi'].startswith('3.1')
    assert set(description['paths']) == {'/segment', '/models', '/health'}
    operations = [each for path in description['paths'].values() for each in path.values()]
    assert {each['operationId'] for each in operations} == {'segment', 'models', 'health'}


def test_parameters_and_body(description):
    operation = description['paths']['/segment']['post']
    parameters = {each['name']: each for each in operation['parameters']}
    assert list(parameters) == ['model', 'output', 'scale', 'include', 'task']
    assert all(each['in'] == 'query' and each['description'] for each in parameters.values())
    assert not any(each['required'] for each in parameters.values())
    schemas = description['components']['schemas']
    assert schemas['Output']['enum'] == ['labels', 'overlay', 'json', 'palette', 'confidence']
    assert schemas['Part']['enum'] == ['pictures', 'pixels', 'original']
    body = operation['requestBody']['content']['multipart/form-data']['schema']
    assert body['required'] == ['image']
    assert list(body['properties']) == ['image', 'first_input']
    for field in body['properties'].values():
        assert field['format'] == 'binary'  # shown as a choice of files


def test_answers(description):
    answers = description['paths']['/segment']['post']['responses']
    assert set(answers['200']['content']) == {'image/png', 'application/json'}
    names = {'Answer', 'TasksAnswer', 'ClassTask', 'DepthTask'}
    assert names <= set(description['components']['schemas'])
    refusals = {'400', '403', '408', '413', '415', '422', '500', '503', '504', '507'}
    assert set(answers) == {'200', *refusals}
    for status in refusals:
        schema = answers[status]['content']['application/json']['schema']
        assert schema == {'$ref': '#/components/schemas/Error'} and answers[status]['description']
    assert 'Retry-After' in answers['503']['headers']
    assert list(description['components']['schemas']['Error']['properties']) == ['error']
    health = description['paths']['/health']['get']['responses']
    assert health['200']['content'] == health['503']['content']


def test_the_documentation_in_a_browser(small_server, tmp_path):
    """It comes from this host alone, shows every operation, and sends a request."""
    photo = tmp_path / 'photo.png'
    image_files.write_image(photo, stand_ins.image(40, 56))
    own = f'http://127.0.0.1:{small_server.port}'
    with browsers.chromium() as browser:
        page = browser.new_page()
        watch = browsers.Watch(page)
        page.goto(f'{own}/docs')
        page.locator('.opblock').nth(2).wait_for()
        paths = page.locator('.opblock-summary-path').all_inner_texts()
        assert sorted(path.replace('\u200b', '') for path in paths) == [
            '/health', '/models', '/segment'
        ]  # fmt: skip
        assert 'OAS 3.1' in page.locator('.info').inner_text()
        block = page.locator('.opblock-post')
        block.locator('.opblock-summary').click()
        block.get_by_role('button', name='Try it out').click()
        block.locator('input[type=file]').first.set_input_files(photo)
        block.get_by_role('button', name='Execute').click()
        shown = block.locator('.live-responses-table')
        shown.wait_for()
        assert '200' in shown.locator('.response-col_status').last.inner_text()
        shown.locator('img').wait_for()
        assert watch.errors == []
        assert all(url.startswith((own, 'blob:', 'data:')) for url in watch.requests)
